package trust

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func TestVerify(t *testing.T) {
	w := newWorld()
	v, err := Verify(t.Context(), w.files, w.state(t), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Targets) != 2 || v.Version != 1 || v.Expires.Format(expiresLayout) != later {
		t.Fatalf("verified: %+v", v)
	}
	if again, err := Verify(t.Context(), w.files, v.State, time.Time{}); err != nil || len(again.Targets) != 2 {
		t.Fatalf("verified again: %+v, %v", again, err)
	}
}

// attack is done to a gateway that has verified the world as it was. Each is refused,
// in words that want has, and goes by as soon as the repository is right again.
type attack struct {
	name string
	do   func(w *world)
	want string
}

var attacks = []attack{
	{"arbitrary software: targets by a stranger's key", func(w *world) {
		w.signers[Targets] = []ed25519.PrivateKey{newKey(99)}
		w.publish()
	}, "targets: signed by 0 of the 1 keys"},
	{"arbitrary software: a stranger's root", func(w *world) {
		w.keys[Root] = []ed25519.PrivateKey{newKey(97), newKey(98)}
		w.rotate()
	}, "root 2 by the keys of root 1: root: signed by 0 of the 2 keys"},
	{"compromise below the threshold: one root key", func(w *world) {
		w.keys[Targets] = []ed25519.PrivateKey{newKey(99)}
		w.signers[Root] = w.keys[Root][:1]
		w.rotate()
		w.publish()
	}, "root: signed by 1 of the 2 keys"},
	{"compromise below the threshold: one root key that signs twice", func(w *world) {
		w.whole[Root] = func(data []byte) []byte {
			var e map[string]any
			_ = json.Unmarshal(data, &e)
			list := e["signatures"].([]any)
			e["signatures"] = []any{list[0], list[0]}
			return canon(object{"signatures": e["signatures"], "signed": e["signed"]})
		}
		w.rotate()
	}, "two signatures under the key"},
	{"compromise below the threshold: one key under two names", func(w *world) {
		w.keys[Root] = []ed25519.PrivateKey{newKey(1), newKey(2)}
		w.edit[Root] = func(o object) {
			k := newKey(1)
			o["keys"].(object)["ff"] = keyObject(k)
			o["roles"].(object)[Root] = object{"keyids": []string{keyID(k), "ff"}, "threshold": 2}
		}
		w.whole[Root] = func(data []byte) []byte {
			var e struct {
				Signatures []any
				Signed     json.RawMessage
			}
			_ = json.Unmarshal(data, &e)
			sig := hex.EncodeToString(ed25519.Sign(newKey(1), e.Signed))
			return canon(object{"signatures": append(e.Signatures, object{"keyid": "ff", "sig": sig}), "signed": e.Signed})
		}
		w.rotate()
	}, "root 2 by its own keys: root: signed by 1 of the 2 keys"},
	{"a root that its own keys did not sign", func(w *world) {
		before := w.keys[Root]
		w.keys[Root] = []ed25519.PrivateKey{newKey(11), newKey(12)}
		w.signers[Root] = nil
		w.rotate(before...)
	}, "root 2 by its own keys"},
	{"a root that skips a version", func(w *world) {
		w.version[Root]++
		w.rotate()
		w.files["2.root.json"] = w.files["3.root.json"]
	}, "it is version 3, and should be 2"},
	{"rollback of the timestamp", func(w *world) {
		w.version[Timestamp] -= 2
		w.timestamp(w.latest(Snapshot))
	}, "timestamp: rolled back to version 2, 3 was seen"},
	{"rollback of the snapshot", func(w *world) {
		w.version[Snapshot] = 1
		w.timestamp(w.files["1.snapshot.json"])
	}, "rolls the snapshot back to version 1, 3 was seen"},
	{"rollback of the targets", func(w *world) {
		w.version[Targets] = 1
		w.snapshot(w.files["1.targets.json"])
	}, "rolls the targets back to version 1, 3 was seen"},
	{"freeze", func(w *world) {
		w.expires[Timestamp] = earlier
		w.timestamp(w.latest(Snapshot))
	}, "timestamp version 4: refused: expired on " + earlier},
	{"freeze of the snapshot", func(w *world) { w.expires[Snapshot] = earlier; w.publish() }, "snapshot version 4: refused: expired"},
	{"freeze of the targets", func(w *world) { w.expires[Targets] = earlier; w.publish() }, "targets version 4: refused: expired"},
	{"freeze of the root", func(w *world) { w.expires[Root] = earlier; w.rotate() }, "root version 2: refused: expired"},
	{"mix and match: an old snapshot under a new timestamp", func(w *world) {
		w.publish()
		w.files["4.snapshot.json"] = w.files["3.snapshot.json"]
	}, "snapshot version 4: mixed: it is not the file"},
	{"mix and match: old targets under a new snapshot", func(w *world) {
		w.publish()
		w.files["4.targets.json"] = w.files["3.targets.json"]
	}, "targets version 4: mixed: it is not the file"},
	{"mix and match: the version within differs", func(w *world) {
		w.snapshot(w.latest(Targets))
		s := w.latest(Snapshot)
		w.version[Snapshot]++
		w.files["5.snapshot.json"] = s
		w.timestamp(s)
	}, "snapshot: mixed: it is version 4, and should be 5"},
	{"endless timestamp", func(w *world) {
		w.files["timestamp.json"] = append(w.files["timestamp.json"], bytes.Repeat([]byte(" "), maxTimestamp)...)
	}, "it is endless"},
	{"endless root", func(w *world) { w.files["2.root.json"] = bytes.Repeat([]byte("{"), maxRoot+1) }, "it is endless"},
	{"endless targets", func(w *world) {
		w.publish()
		w.files["4.targets.json"] = append(w.files["4.targets.json"], ' ')
	}, "it is endless"},
	{"targets that say they are endless", func(w *world) {
		w.edit[Snapshot] = func(o object) { o["meta"].(object)["targets.json"].(object)["length"] = maxTargets + 1 }
		w.publish()
	}, "targets: is 2000001 bytes long, 2000000 are the most"},
	{"wrong target: the path names another version", func(w *world) {
		w.targets["scanrelay/2.0.0/linux-arm-6"] = w.targets["scanrelay/1.0.0/linux-arm-6"]
		w.publish()
	}, `target "scanrelay/2.0.0/linux-arm-6": wrong target: its custom part is of scanrelay/1.0.0/linux-arm-6`},
	{"wrong target: a way out of the folder", func(w *world) {
		w.add(Custom{Name: "..", Version: "1.0.0", OS: "linux", Arch: "arm64"}, []byte("x"))
		w.publish()
	}, `name "\.\."`},
	{"one role's metadata in another's place", func(w *world) { w.files["timestamp.json"] = w.files["3.snapshot.json"] }, `timestamp: it is metadata of "snapshot"`},
	{"delegations", func(w *world) {
		w.edit[Targets] = func(o object) { o["delegations"] = object{"keys": object{}, "roles": []any{}} }
		w.publish()
	}, "delegates to others"},
	{"a key twice", func(w *world) {
		data := w.files["timestamp.json"]
		w.files["timestamp.json"] = bytes.Replace(data, []byte(`"version":3}`), []byte(`"version":3,"version":9}`), 1)
	}, `has the key "version" twice`},
	{"a key in another case", func(w *world) {
		w.edit[Timestamp] = func(o object) { o["Version"] = 9 }
		w.publish()
	}, `has the key "Version"`},
	{"other blanks", func(w *world) {
		w.files["timestamp.json"] = bytes.Replace(w.files["timestamp.json"], []byte(`"_type":`), []byte(`"_type": `), 1)
	}, "not canonical"},
	{"another specification", func(w *world) { w.edit[Targets] = func(o object) { o["spec_version"] = "2.0.0" }; w.publish() }, `its specification is "2.0.0"`},
	{"another kind of key", func(w *world) {
		w.edit[Root] = func(o object) {
			o["keys"].(object)["aa"] = object{"keytype": "rsa", "scheme": "rsa", "keyval": object{"public": ""}}
		}
		w.rotate()
	}, "only ed25519 is known"},
	{"a threshold of nothing", func(w *world) {
		w.edit[Root] = func(o object) { o["roles"].(object)[Targets].(object)["threshold"] = 0 }
		w.rotate()
	}, "a threshold of 0"},
	{"a role without keys", func(w *world) {
		w.edit[Root] = func(o object) { delete(o["roles"].(object), Timestamp) }
		w.rotate()
	}, "role timestamp has 0 keys"},
	{"a snapshot of nothing", func(w *world) { w.edit[Snapshot] = func(o object) { o["meta"] = object{} }; w.publish() }, "must name targets.json alone"},
	{"no SHA-256", func(w *world) {
		w.edit[Snapshot] = func(o object) { delete(o["meta"].(object)["targets.json"].(object), "hashes") }
		w.publish()
	}, "hashes must be one of sha256"},
	{"a moment written otherwise", func(w *world) { w.expires[Targets] = "2027-11-30T12:00:00+00:00"; w.publish() }, "targets: expires"},
	{"a number that readers round", func(w *world) { w.edit[Targets] = func(o object) { o["x"] = int64(1) << 53 }; w.publish() }, "whole and below 2\\^53"},
}

func TestAttacks(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			w := newWorld()
			w.publish()
			w.publish()
			honest, state := copyOf(w.files), w.seen(t)
			a.do(w)
			v, err := Verify(t.Context(), w.files, state, time.Time{})
			if err == nil || !errors.Is(err, ErrRefused) || !strings.Contains(strings.ReplaceAll(err.Error(), `\`, ""), strings.ReplaceAll(a.want, `\`, "")) {
				t.Fatalf("error %v, want %q", err, a.want)
			}
			if len(v.Targets) > 0 {
				t.Errorf("targets beside the error: %v", v.Targets)
			}
			// What was refused leaves nothing behind that stops what is right. A thief
			// of online keys may have raised versions; see TestRecovery.
			if strings.HasPrefix(a.name, "freeze") || strings.HasPrefix(a.name, "mix") || strings.Contains(a.name, "targets") || v.State.Timestamp != nil && !bytes.Equal(v.State.Timestamp, state.Timestamp) || !bytes.Equal(v.State.Root, state.Root) {
				return
			}
			if _, err := Verify(t.Context(), honest, v.State, time.Time{}); err != nil {
				t.Errorf("the honest repository afterwards: %v", err)
			}
		})
	}
}

// TestRecovery: who stole the online keys can raise the versions as high as they go, and
// a new root with new keys makes it undone.
func TestRecovery(t *testing.T) {
	w := newWorld()
	for _, name := range []string{Timestamp, Snapshot, Targets} {
		w.version[name] = exact - 10
	}
	w.publish()
	state := w.seen(t)
	for _, name := range []string{Timestamp, Snapshot, Targets} {
		w.version[name] = 1
	}
	w.publish()
	if _, err := Verify(t.Context(), w.files, state, time.Time{}); !errors.Is(err, ErrRefused) {
		t.Fatalf("before the new root: %v", err)
	}
	w.keys[Timestamp], w.keys[Snapshot] = []ed25519.PrivateKey{newKey(20)}, []ed25519.PrivateKey{newKey(21)}
	w.rotate()
	w.publish()
	v, err := Verify(t.Context(), w.files, state, time.Time{})
	if err != nil || v.Version != 3 {
		t.Fatalf("after it: version %d, %v", v.Version, err)
	}
}

// TestRotation: a gateway that slept for many roots follows them all, and those that
// expired on the way do not stop it.
func TestRotation(t *testing.T) {
	w := newWorld()
	state := w.seen(t)
	for n := byte(0); n < 20; n++ {
		before := w.keys[Root]
		w.expires[Root] = earlier
		w.keys[Root] = []ed25519.PrivateKey{newKey(100 + n), newKey(101 + n), newKey(102 + n)}
		w.rotate(before...)
	}
	w.expires[Root] = later
	w.rotate()
	w.publish()
	v, err := Verify(t.Context(), w.files, state, time.Time{})
	if err != nil || !bytes.Equal(v.State.Root, w.latest(Root)) {
		t.Fatal(err)
	}
	delete(w.files, "9.root.json") // a gap is not jumped: what follows it is not seen
	if _, err := Verify(t.Context(), w.files, state, time.Time{}); !errors.Is(err, ErrExpired) {
		t.Fatalf("with a gap: %v", err)
	}
}

func TestTooManyRoots(t *testing.T) {
	w := newWorldOf(newKey(1))
	for range maxRoots {
		w.rotate()
	}
	v, err := Verify(t.Context(), w.files, w.state(t), time.Time{})
	if err == nil || !strings.Contains(err.Error(), "more than 256 follow each other") {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), w.files, v.State, time.Time{}); err != nil { // it got further
		t.Fatal(err)
	}
}

// TestClock: the gateway's own clock decides nothing, and one jump of the centre's does
// not expire everything for good.
func TestClock(t *testing.T) {
	w := newWorld()
	s := w.state(t)
	if err := s.Saw(time.Unix(0, 0)); err != nil || !s.Floor.Equal(today) {
		t.Fatalf("1970: %v, %v", s.Floor, err)
	}
	if err := s.Saw(time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)); err == nil || !s.Floor.Equal(today) {
		t.Fatalf("2099: %v, %v", s.Floor, err)
	}
	if _, err := Verify(t.Context(), w.files, s, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	ahead := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	v, err := Verify(t.Context(), w.files, s, ahead) // of who trusts that clock
	if !errors.Is(err, ErrExpired) {
		t.Fatalf("in 2099: %v", err)
	}
	if _, err := Verify(t.Context(), w.files, v.State, time.Time{}); err != nil {
		t.Fatalf("afterwards: %v", err)
	}
	if err := s.Saw(today.AddDate(2, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), w.files, s, time.Time{}); !errors.Is(err, ErrExpired) {
		t.Fatalf("two years later: %v", err)
	}
	s.Floor = today // as root may
	if _, err := Verify(t.Context(), w.files, s, time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// TestLineBreaks: what the way to a repository does wrong is no refusal, and what was
// learnt until then is kept.
func TestLineBreaks(t *testing.T) {
	w := newWorld()
	state := w.seen(t)
	w.rotate()
	w.publish()
	for name := range w.files {
		if strings.HasPrefix(name, "targets/") || strings.HasPrefix(name, "1.") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			v, err := Verify(t.Context(), broken{w.files, name}, state, time.Time{})
			if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrRefused) {
				t.Fatal(err)
			}
			if v, err = Verify(t.Context(), w.files, v.State, time.Time{}); err != nil || v.Version != 2 {
				t.Fatal(err)
			}
		})
	}
}

// broken is a repository whose line breaks within one file.
type broken struct {
	Repository
	name string
}

func (b broken) Open(ctx context.Context, name string, from int64) (io.ReadCloser, error) {
	r, err := b.Repository.Open(ctx, name, from)
	if err == nil && name == b.name {
		return io.NopCloser(io.MultiReader(io.LimitReader(r, 100), cut{})), nil
	}
	return r, err
}

type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestEveryByte cuts each file of metadata at every byte and flips a bit in each, now
// this one, now that: it is refused, or it means what it meant, to go-tuf as well.
func TestEveryByte(t *testing.T) {
	plain, rotated := newWorldOf(newKey(1)), newWorldOf(newKey(1))
	rotated.rotate()
	for name, w := range map[string]*world{"timestamp.json": plain, "1.snapshot.json": plain, "1.targets.json": plain, "2.root.json": rotated} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, whole := w.state(t), w.files[name]
			want, err := Verify(t.Context(), w.files, state, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			for i := range whole {
				for _, damaged := range [][]byte{whole[:i], flip(whole, i, i%8)} {
					files := copyOf(w.files)
					files[name] = damaged
					v, err := Verify(t.Context(), files, state, time.Time{})
					switch {
					case err != nil && !errors.Is(err, ErrRefused):
						t.Fatalf("at %d: %v", i, err)
					case err == nil && fmt.Sprint(v.Targets) != fmt.Sprint(want.Targets):
						t.Fatalf("at %d: accepted as %v", i, v.Targets)
					case err == nil && goTUF(files, state, today) != nil:
						t.Fatalf("at %d: accepted here, refused by go-tuf: %q", i, damaged)
					}
				}
			}
		})
	}
}

func flip(whole []byte, i, bit int) []byte {
	b := bytes.Clone(whole)
	b[i] ^= 1 << bit
	return b
}

// TestStateFile: a state file that is no more what it was is an error that names it.
func TestStateFile(t *testing.T) {
	w := newWorld()
	good := w.seen(t)
	file := File(t.TempDir() + "/trust")
	for name, damage := range stateDamages {
		if err := file.Write(good); err != nil {
			t.Fatal(err)
		}
		damage(t, file.Path)
		var s State
		if err := file.Read(&s); err == nil || !strings.Contains(err.Error(), "kept as trust.unreadable") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := file.Write(good); err != nil {
		t.Fatal(err)
	}
	var s State
	if err := file.Read(&s); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), w.files, s, time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, first := range [][]byte{nil, make([]byte, 4096), []byte("{}"), w.files["timestamp.json"]} {
		if _, err := NewState(first, today); err == nil || !strings.Contains(err.Error(), "read the first root") {
			t.Errorf("a first root of %d bytes: %v", len(first), err)
		}
	}
}

// FuzzMetadata: whatever a file of metadata is, it is read within bounds, and what is
// accepted go-tuf accepts too.
func FuzzMetadata(f *testing.F) {
	w := newWorld()
	names := []string{"timestamp.json", "1.snapshot.json", "1.targets.json", "2.root.json"}
	w.rotate()
	for i, name := range names {
		f.Add(uint8(i), w.files[name])
		f.Add(uint8(i), bytes.ReplaceAll(w.files[name], []byte(`{`), []byte(`{"a":[],`)))
	}
	f.Add(uint8(0), []byte(`{"signatures":null,"signed":null}`))
	f.Add(uint8(0), bytes.Repeat([]byte(`[`), 5000))
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		files := copyOf(w.files)
		files[names[int(which)%len(names)]] = data
		_, err := Verify(t.Context(), files, w.state(t), time.Time{})
		if err == nil && goTUF(files, w.state(t), today) != nil {
			t.Errorf("accepted here, refused by go-tuf: %q", data)
		}
	})
}

// FuzzCanonical: what is canonical stays so.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2,"x\\\"",true,null,{}],"b":{"c":""}}`, `{"b":1,"a":2}`, `1.0`, `"\u00e9"`, `"é"`, `-0`, ` {} `, `{}{}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		once, err := canonical(data)
		if err != nil || strings.ContainsFunc(string(once), func(r rune) bool { return r < ' ' }) {
			return // control characters stand as they are, which JSON does not read
		}
		twice, err := canonical(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%q became %q, then %q (%v)", data, once, twice, err)
		}
	})
}
