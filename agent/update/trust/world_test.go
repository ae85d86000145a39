package trust

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"testing"
	"time"
)

// today is when the tests' repositories are looked at.
var today = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

const (
	later   = "2027-11-30T12:00:00Z"
	earlier = "2026-11-30T11:59:59Z"
)

// mem is a repository in memory.
type mem map[string][]byte

func (m mem) Open(_ context.Context, name string, from int64) (io.ReadCloser, error) {
	content, ok := m[name]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(content[min(from, int64(len(content))):])), nil
}

type object = map[string]any

// world is a publisher with all keys. A test changes what it is about to sign.
type world struct {
	files   mem
	keys    map[string][]ed25519.PrivateKey // of roles
	signers map[string][]ed25519.PrivateKey // who signs; unless set, keys
	version map[string]int64
	expires map[string]string
	targets object
	// edit changes what is signed, whole what was signed.
	edit  map[string]func(object)
	whole map[string]func([]byte) []byte
}

// newKey is always the same for a number.
func newKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// newWorld has published one release for two machines.
func newWorld() *world { return newWorldOf(newKey(1), newKey(2), newKey(3)) }

// newWorldOf has these keys of the root. More than half must sign.
func newWorldOf(keys ...ed25519.PrivateKey) *world {
	w := &world{
		files: mem{}, signers: map[string][]ed25519.PrivateKey{}, version: map[string]int64{}, targets: object{},
		edit: map[string]func(object){}, whole: map[string]func([]byte) []byte{},
		keys: map[string][]ed25519.PrivateKey{
			Root: keys, Targets: {newKey(4)}, Snapshot: {newKey(5)}, Timestamp: {newKey(6)},
		},
		expires: map[string]string{Root: later, Targets: later, Snapshot: later, Timestamp: later},
	}
	w.add(Custom{Name: "scanrelay", Version: "1.0.0", OS: "linux", Arch: "arm", GOARM: "6"}, []byte("program one"))
	w.add(Custom{Name: "scanrelay", Version: "1.0.0", OS: "linux", Arch: "arm64"}, []byte("program one of 64 bits"))
	w.rotate()
	w.publish()
	return w
}

func hexSum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func (w *world) add(c Custom, content []byte) {
	w.targets[c.Path()] = object{"length": len(content), "hashes": object{"sha256": hexSum(content)}, "custom": c}
	w.files[Stored(c.Path(), hexSum(content))] = content
}

func keyObject(k ed25519.PrivateKey) object {
	public := hex.EncodeToString(k.Public().(ed25519.PublicKey))
	return object{"keytype": "ed25519", "scheme": "ed25519", "keyval": object{"public": public}}
}

// canon is canonical JSON of what has no HTML in it.
func canon(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var generic any // custom parts have fields, not keys in order
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&generic); err != nil {
		panic(err)
	}
	raw, _ = json.Marshal(generic)
	return raw
}

func keyID(k ed25519.PrivateKey) string { return hexSum(canon(keyObject(k))) }

// sign makes a file of metadata, in the name of its role.
func (w *world) sign(name string, o object, keys []ed25519.PrivateKey) []byte {
	w.version[name]++
	o["_type"], o["spec_version"], o["version"], o["expires"] = name, "1.0.31", w.version[name], w.expires[name]
	if edit := w.edit[name]; edit != nil {
		edit(o)
	}
	body := canon(o)
	signatures := []any{}
	for _, k := range keys {
		signatures = append(signatures, object{"keyid": keyID(k), "sig": hex.EncodeToString(ed25519.Sign(k, body))})
	}
	data := canon(object{"signatures": signatures, "signed": json.RawMessage(body)})
	if whole := w.whole[name]; whole != nil {
		data = whole(data)
	}
	return data
}

func (w *world) who(name string) []ed25519.PrivateKey {
	if s, ok := w.signers[name]; ok {
		return s
	}
	return w.keys[name]
}

// rotate publishes the next root, signed by whoever was root before, too.
func (w *world) rotate(before ...ed25519.PrivateKey) {
	keys, roles := object{}, object{}
	for name, list := range w.keys {
		ids := []string{}
		for _, k := range list {
			keys[keyID(k)] = keyObject(k)
			ids = append(ids, keyID(k))
		}
		roles[name] = object{"keyids": ids, "threshold": (len(list) + 1) / 2}
	}
	signers := before
	for _, k := range w.who(Root) {
		if !bytes.Contains(bytes.Join(seeds(before), nil), k.Seed()) {
			signers = append(signers, k)
		}
	}
	data := w.sign(Root, object{"consistent_snapshot": true, "keys": keys, "roles": roles}, signers)
	w.files[fmt.Sprintf("%d.root.json", w.version[Root])] = data
}

func seeds(keys []ed25519.PrivateKey) (list [][]byte) {
	for _, k := range keys {
		list = append(list, k.Seed())
	}
	return list
}

func about(version int64, content []byte) object {
	return object{"version": version, "length": len(content), "hashes": object{"sha256": hexSum(content)}}
}

// publish signs targets, snapshot and timestamp anew.
func (w *world) publish() {
	targets := w.sign(Targets, object{"targets": w.targets}, w.who(Targets))
	w.files[fmt.Sprintf("%d.targets.json", w.version[Targets])] = targets
	w.snapshot(targets)
}

func (w *world) snapshot(targets []byte) {
	snapshot := w.sign(Snapshot, object{"meta": object{"targets.json": about(w.version[Targets], targets)}}, w.who(Snapshot))
	w.files[fmt.Sprintf("%d.snapshot.json", w.version[Snapshot])] = snapshot
	w.timestamp(snapshot)
}

func (w *world) timestamp(snapshot []byte) {
	w.files["timestamp.json"] = w.sign(Timestamp, object{"meta": object{"snapshot.json": about(w.version[Snapshot], snapshot)}}, w.who(Timestamp))
}

// latest is the newest file of a role.
func (w *world) latest(name string) []byte {
	return w.files[fmt.Sprintf("%d.%s.json", w.version[name], name)]
}

// state is of a gateway that has the first root.
func (w *world) state(t testing.TB) State {
	t.Helper()
	s, err := NewState(w.files["1.root.json"], today)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// seen is of one that has verified what there is now.
func (w *world) seen(t testing.TB) State {
	t.Helper()
	v, err := Verify(t.Context(), w.files, w.state(t), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return v.State
}

// copyOf is what a mirror kept.
func copyOf(m mem) mem { return maps.Clone(m) }

// chance is the same in every run.
func chance(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 15)) }
