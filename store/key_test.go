package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
	"scanrelay/store/quarantine"
)

// The master key, by the names that people know.
const (
	keyFile        = "outbox.key"
	credentialFile = "scanrelay-store-key"
)

// randomKeyLine is a master key as a person makes one.
func randomKeyLine() []byte {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never returns an error
	return append(hex.AppendEncode(nil, secret), '\n')
}

// secretEvent is an event full of what must not stand on the disk in clear, and
// secrets are these things.
func secretEvent(id string) (e scan.Event, secrets []string) {
	e = storetest.FullEvent()
	e.EventID, e.Clockless, e.Weak = id, nil, scan.WeakKey{}
	return e, []string{"SF1234567890123", "13800138000", "13800138001", "13800138002", "李四", "张三", "王五", "纺都路", "杭州转运"}
}

func onDisk(t *testing.T, dir string, secrets []string) (found []string) {
	t.Helper()
	for name, content := range contents(t, dir) {
		for _, s := range secrets {
			if strings.Contains(content, s) {
				found = append(found, filepath.Base(name)+": "+s)
			}
		}
	}
	return found
}

// Nothing of a scan stands in any file in clear, in quarantine and carried
// along neither; all of it comes back.
func TestNothingInClearOnDisk(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	e, secrets := secretEvent("e1")
	b := batch(e, newEvent("W2", "e2", 5))
	b.Rejects = []scan.Reject{{Topic: "t", Payload: []byte(`{"phone":"13800138000"}`), Index: -1, Code: "c", Reason: "r"}}
	if _, err := o.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		if found := onDisk(t, dir, secrets); len(found) > 0 {
			t.Errorf("%s: %v", when, found)
		}
		got := all(t, o, Filter{})
		i := slices.IndexFunc(got, func(r event.Record) bool { return r.Event.EventID == "e1" })
		if i < 0 || got[i].Event.Data == nil || got[i].Event.Data.Receiver.Phone.Reveal() != "13800138000" {
			t.Errorf("%s: %+v", when, got)
		}
	}
	check("stored")
	syncAll(t, o)
	for _, r := range mustLease(t, o, 5) {
		err := o.Settle(context.Background(), []event.Settlement{{Seq: r.ID.Seq, Outcome: event.Dead, Last: event.Reply{Reason: "errmsg: 李四 moved", ErrCode: 932003, RID: "rid-1"}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	check("dead")
	roll(t, o)
	c.advance(200 * time.Hour)
	o.retire() // the dead letters are carried
	if n := segmentFiles(t, dir); n != 1 {
		t.Fatalf("%d segments", n)
	}
	check("carried")
	ids := o.DeadIDs()
	if n, err := o.Discard(context.Background(), "王五 says 13800138000 is wrong", ids[0]); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	check("discarded")
	closeChecked(t, o)
	o = open(t, dir, small(c))
	check("opened again")
	for i, want := range []event.Reply{{Reason: "王五 says 13800138000 is wrong"}, {Reason: "errmsg: 李四 moved", ErrCode: 932003, RID: "rid-1"}} {
		if got := all(t, o, Filter{})[i].Last; got != want {
			t.Errorf("reason %d: %+v", i, got)
		}
	}
	n := 0
	err := o.Quarantine(context.Background(), func(q Quarantined) error {
		n++
		if string(q.Payload) != `{"phone":"13800138000"}` {
			t.Errorf("payload %q", q.Payload)
		}
		return nil
	})
	if err != nil || n != 1 {
		t.Error(n, err)
	}
}

// With a segment its key goes: who kept a copy of the segment's blocks, as flash
// does, and has all other files, the master key too, cannot read it.
func TestKeyIsDestroyedWithItsSegment(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	mustAppend(t, o, newEvent("W1", "a", 1))
	syncAll(t, o)
	pushAll(t, o)
	first := o.journal.Segments()[0]
	kept, err := os.ReadFile(first.Path)
	if err != nil {
		t.Fatal(err)
	}
	roll(t, o)
	oldRing, err := os.ReadFile(filepath.Join(dir, crypt.FileName))
	if err != nil {
		t.Fatal(err)
	}
	c.advance(200 * time.Hour)
	o.retire()
	if o.journal.Cipher(first.Number) != nil {
		t.Error("the key is still in memory")
	}
	closeChecked(t, o)
	now, err := os.ReadFile(filepath.Join(dir, crypt.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range []int{0, 1 << 20} {
		begin := slot + 16 + 12 // behind the head and the nonce
		if bytes.Contains(now, oldRing[begin:begin+40]) {
			t.Errorf("the slot at %d still holds what was encrypted before", slot)
		}
	}
	if err := os.WriteFile(first.Path, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := all(t, r, Filter{}); len(got) != 0 {
		t.Errorf("read %+v", got)
	}
}

// A wrong or missing key is said, with what to do, and nothing is changed.
func TestWrongOrMissingKey(t *testing.T) {
	key := func(dir string) string { return filepath.Join(dir, keyFile) }
	for name, spoil := range map[string]func(dir string) error{
		"no key":    func(dir string) error { return os.Remove(key(dir)) },
		"empty key": func(dir string) error { return os.WriteFile(key(dir), nil, 0o600) },
		"no hex":    func(dir string) error { return os.WriteFile(key(dir), []byte(strings.Repeat("x", 64)), 0o600) },
		"another key": func(dir string) error {
			return os.WriteFile(key(dir), randomKeyLine(), 0o600)
		},
		"no keys": func(dir string) error { return os.Remove(filepath.Join(dir, crypt.FileName)) },
		"no keys but segments": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, crypt.FileName)), os.Remove(key(dir)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := open(t, dir, small(newTestClock()))
			mustAppend(t, o, newEvent("W", "e", 1))
			closeChecked(t, o)
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			before := contents(t, dir)
			_, err := Open(dir, small(newTestClock()))
			if !errors.Is(err, crypt.ErrKey) || !strings.Contains(fmt.Sprint(err), dir) {
				t.Errorf("open: %v", err)
			}
			if _, err := OpenReadOnly(dir); !errors.Is(err, crypt.ErrKey) {
				t.Errorf("read: %v", err)
			}
			after := contents(t, dir)
			if !maps.Equal(before, after) {
				t.Error("something was changed")
			}
		})
	}
}

// The keys of yesterday's backup beside today's segments: refused, nothing is
// set aside.
func TestKeysOlderThanSegments(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, small(newTestClock()))
	mustAppend(t, o, newEvent("W", "e", 1))
	path := filepath.Join(dir, crypt.FileName)
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	roll(t, o)
	closeChecked(t, o)
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, small(newTestClock())); !errors.Is(err, crypt.ErrKey) {
		t.Errorf("got %v", err)
	}
	if n := segmentFiles(t, dir); n != 2 {
		t.Errorf("%d segments", n)
	}
}

// One slot, or one copy of the master key, may be damaged anywhere; it is mended.
func TestKeysSurviveDamage(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	mustAppend(t, o, newEvent("W", "e", 1))
	closeChecked(t, o)
	for _, hit := range []struct {
		name  string
		at, n int64
	}{
		{crypt.FileName, 0, boltpage.PageSize}, {crypt.FileName, 20, 1}, {crypt.FileName, 1 << 20, boltpage.PageSize}, {crypt.FileName, 1<<20 + 70, 3},
		{keyFile, 0, boltpage.PageSize}, {keyFile, 2 * boltpage.PageSize, 65}, {keyFile, 2*boltpage.PageSize + 5, 4},
	} {
		good, err := os.ReadFile(filepath.Join(dir, hit.name))
		if err != nil {
			t.Fatal(err)
		}
		overwrite(t, filepath.Join(dir, hit.name), hit.at, int(hit.n))
		if r, err := Check(dir); err != nil || r.Good() || !strings.Contains(strings.Join(r.Problems, "\n"), "one of the two copies in "+hit.name) {
			t.Errorf("%+v: check says %+v, %v", hit, r, err)
		}
		o = open(t, dir, small(c))
		if got := all(t, o, Filter{}); len(got) != 1 || got[0].Event.EventID != "e" {
			t.Errorf("%+v: %+v", hit, got)
		}
		closeChecked(t, o)
		if keys, err := crypt.Open(dir, true, false); err != nil || !keys.Whole() {
			t.Errorf("%+v: not mended: %v", hit, err)
		} else if w := keys.Warning(); w != "" {
			t.Errorf("%+v: not mended: %s", hit, w)
		}
		if now, err := os.ReadFile(filepath.Join(dir, hit.name)); hit.name == keyFile && (err != nil || !bytes.Equal(now, good)) {
			t.Errorf("%+v: it is not what it was: %v", hit, err)
		}
		if r, err := Check(dir); err != nil || !r.Good() {
			t.Errorf("%+v: check says %+v, %v", hit, r, err)
		}
	}
}

// A credential from systemd takes the place of the key file.
func TestCredential(t *testing.T) {
	dir, creds := t.TempDir(), t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", creds)
	o := open(t, dir, small(newTestClock()))
	mustAppend(t, o, newEvent("W", "e", 1))
	closeChecked(t, o)
	path := filepath.Join(dir, keyFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	if err := os.Rename(path, filepath.Join(creds, credentialFile)); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, small(newTestClock()))
	if n := len(all(t, o, Filter{})); n != 1 {
		t.Errorf("%d records", n)
	}
	if durable.Exists(path) {
		t.Error("a key file was made beside the credential")
	}
}

// An outbox of format 1, as an earlier version left it, is read; what is new
// goes into a segment of today's.
func TestFormat1IsRead(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{format.Name(1), quarantine.FileName} {
		unzip(t, filepath.Join("testdata", "format1-"+name+".gz"), filepath.Join(dir, name))
	}
	if err := os.WriteFile(filepath.Join(dir, lockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(all(t, reader, Filter{})); n != 4 {
		t.Errorf("reader: %d records", n)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	c := newTestClock()
	o := open(t, dir, small(c))
	mustAppend(t, o, newEvent("W3", "new", 9))
	want := []event.State{event.Dead, event.ToPush, event.ToPush, event.Pushed, event.Unsynced}
	for i, r := range all(t, o, Filter{}) {
		if r.State != want[i] || i == 0 && r.Event.Data.Receiver.Phone.Reveal() != "13800138000" {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if n := segmentFiles(t, dir); n != 2 {
		t.Errorf("%d segments", n)
	}
	if c := o.Counts(); c.Quarantined != 1 || c.State[event.Dead] != 1 {
		t.Errorf("%+v", c)
	}
	// Past retain the dead letter is carried, encrypted now.
	syncAll(t, o)
	pushAll(t, o)
	c.advance(200 * time.Hour)
	roll(t, o)
	o.retire()
	if n := segmentFiles(t, dir); n != 1 {
		t.Errorf("%d segments left", n)
	}
	closeChecked(t, o)
	o = open(t, dir, small(c))
	if ids := o.DeadIDs(); len(ids) != 1 || ids[0].Seq != 1 {
		t.Errorf("dead %v", ids)
	}
}

func unzip(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
