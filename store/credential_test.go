package store

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/store/crypt"
	"scanrelay/store/durable"
)

// credentialWorld is a store with a key file, and a folder for credentials.
func credentialWorld(t *testing.T) (dir, creds string, c *testClock) {
	dir, creds, c = t.TempDir(), t.TempDir(), newTestClock()
	o := open(t, dir, small(c))
	mustAppend(t, o, newEvent("W", "e", 1))
	closeChecked(t, o)
	t.Setenv("CREDENTIALS_DIRECTORY", creds)
	return dir, creds, c
}

// giveCredential makes a new key the credential, as a person does it.
func giveCredential(t *testing.T, creds string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(creds, credentialFile), randomKeyLine(), 0o400); err != nil {
		t.Fatal(err)
	}
}

func openLogged(t *testing.T, dir string, c *testClock) (*Outbox, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	opts := small(c)
	opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	return open(t, dir, opts), log
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A store with a key file moves to a credential with another key: the segments'
// keys are under that one alone, and the file is gone. Whatever a crash left in
// between, the next start goes on.
func TestMoveToCredential(t *testing.T) {
	dir, creds, c := credentialWorld(t)
	ringPath, keyPath := filepath.Join(dir, crypt.FileName), filepath.Join(dir, keyFile)
	oldRing, oldKey := read(t, ringPath), read(t, keyPath)
	giveCredential(t, creds)
	r, err := OpenReadOnly(dir)
	if err != nil || len(all(t, r, Filter{})) != 1 || r.Close() != nil {
		t.Fatal("read only:", err)
	}
	if !bytes.Equal(read(t, ringPath), oldRing) || !bytes.Equal(read(t, keyPath), oldKey) {
		t.Fatal("a reader changed something")
	}
	moved := func(what string) {
		t.Helper()
		o, log := openLogged(t, dir, c)
		if n := len(all(t, o, Filter{})); n != 1 {
			t.Errorf("%s: %d records", what, n)
		}
		closeChecked(t, o)
		if durable.Exists(keyPath) || !strings.Contains(log.String(), "was destroyed: keep a copy") {
			t.Errorf("%s: the key file is there: %t; log %s", what, durable.Exists(keyPath), log)
		}
		o, log = openLogged(t, dir, c)
		if closeChecked(t, o); strings.Contains(log.String(), "store's key") {
			t.Errorf("%s: it is said again: %s", what, log)
		}
	}
	moved("first")
	newRing := read(t, ringPath)
	for what, slots := range map[string][2][]byte{
		"before the first slot": {oldRing, oldRing}, "between the slots": {newRing, oldRing},
		"the first slot torn": {nil, oldRing}, "the second slot torn": {newRing, nil}, "before the file went": {newRing, newRing},
	} {
		ring := make([]byte, len(oldRing))
		for i, from := range slots {
			if from != nil {
				copy(ring[i<<20:min((i+1)<<20, len(ring))], from[i<<20:])
			}
		}
		err := errors.Join(os.WriteFile(ringPath, ring, 0o600), os.WriteFile(keyPath, oldKey, 0o600))
		if err != nil {
			t.Fatal(err)
		}
		moved(what)
	}
	// The old key opens nothing any more.
	if err := errors.Join(os.Remove(filepath.Join(creds, credentialFile)), os.WriteFile(keyPath, oldKey, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, small(c)); !errors.Is(err, crypt.ErrKey) {
		t.Errorf("with the old key: %v", err)
	}
}

// A copy of the key file as the credential protects nothing: it works, nothing
// is removed, and it is said at each start.
func TestCredentialIsACopy(t *testing.T) {
	dir, creds, c := credentialWorld(t)
	keyPath := filepath.Join(dir, keyFile)
	if err := os.WriteFile(filepath.Join(creds, credentialFile), read(t, keyPath), 0o400); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		o, log := openLogged(t, dir, c)
		if n := len(all(t, o, Filter{})); n != 1 {
			t.Errorf("%d records", n)
		}
		closeChecked(t, o)
		if !durable.Exists(keyPath) || !strings.Contains(log.String(), "protects nothing") {
			t.Errorf("log: %s", log)
		}
	}
}

// A credential that is no key, or another one where there is no key file, is
// refused, and nothing is changed.
func TestWrongCredential(t *testing.T) {
	dir, creds, c := credentialWorld(t)
	refused := func(name string) {
		t.Helper()
		before := contents(t, dir)
		if _, err := Open(dir, small(c)); !errors.Is(err, crypt.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
		if !maps.Equal(before, contents(t, dir)) {
			t.Errorf("%s: something was changed", name)
		}
	}
	credential := filepath.Join(creds, credentialFile)
	if err := os.WriteFile(credential, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("no key")
	if err := errors.Join(os.Remove(filepath.Join(dir, keyFile)), os.Remove(credential)); err != nil {
		t.Fatal(err)
	}
	giveCredential(t, creds)
	refused("another key")
}
