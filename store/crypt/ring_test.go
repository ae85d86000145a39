package crypt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/masterkey"
)

// Keys must not show, however they are printed.
func TestKeysDontPrint(t *testing.T) {
	k := masterkey.Random()
	bytesOf := fmt.Sprint(k.Reveal()[:4])
	hexOf := fmt.Sprintf("%x", k.Reveal()[:4])
	r := &Ring{keys: map[uint64]key{1: k}, master: k.AEAD()}
	inside := struct {
		k    key
		r    *Ring
		kept map[uint64]key
	}{k, r, r.keys}
	for _, v := range []any{k, &k, r, inside, &inside, []key{k}, newCipher(k)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, strings.Trim(bytesOf, "[]")) || strings.Contains(got, hexOf) {
				t.Errorf("%s of %T shows the key", verb, v)
			}
		}
	}
	if b, err := json.Marshal(map[string]any{"k": k}); err != nil || strings.Contains(string(b), "[") {
		t.Errorf("json: %s %v", b, err)
	}
}

// A lost transaction gives its numbers to other events: the nonces must differ.
func TestNoncesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range []RecordKind{EventRecord, CarriedRecord, RejectRecord, reasonText} {
		for seq := range uint64(300) {
			seen[string(nonce(kind, codec.Key(seq), []byte{1, 2, 3, 4}))] = true
		}
	}
	if len(seen) != 1200 {
		t.Errorf("%d nonces", len(seen))
	}
	a, b := testCipher.Encrypt(EventRecord, codec.Key(1), NewSalt(), []byte("\x02same")), testCipher.Encrypt(EventRecord, codec.Key(1), NewSalt(), []byte("\x02same"))
	if bytes.Equal(a, b) {
		t.Error("two commits used one nonce")
	}
	if _, err := testCipher.Decrypt(CarriedRecord, codec.Key(1), a, nil); !errors.Is(err, durable.ErrDamaged) {
		t.Errorf("an event passes for a carried one: %v", err)
	}
}

// A key that is no longer kept is in neither slot: whoever has the file and the
// master key cannot read what was encrypted under it.
func TestDestroyedKeyIsInNeitherSlot(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir, false, true)
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(3) {
		if _, err := r.Add(n + 1); err != nil {
			t.Fatal(err)
		}
	}
	secret := *r.keys[2].Reveal()
	before := readFile(t, filepath.Join(dir, FileName))
	if err := r.Keep(func(n uint64) bool { return n == 3 }); err != nil {
		t.Fatal(err)
	}
	if r.Cipher(1) != nil || r.Cipher(2) != nil || r.Cipher(3) == nil || r.Cipher(QuarantineKey) == nil {
		t.Error("other keys are kept than were to be")
	}
	masters, err := masterKeys(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	now := readFile(t, filepath.Join(dir, FileName))
	for i := range int64(2) {
		was := before[i*ringSlot+ringHead+12:][:4*ringEntry]
		if bytes.Contains(now, was) {
			t.Errorf("slot %d still holds what was encrypted before", i)
		}
		slot, err := readSlot(bytes.NewReader(now), i*ringSlot)
		if err != nil {
			t.Fatal(err)
		}
		read := &Ring{keys: map[uint64]key{}, master: masters.keys[0].AEAD()}
		if err := read.decode(slot); err != nil || len(read.keys) != 2 {
			t.Fatalf("slot %d has %d keys: %v", i, len(read.keys), err)
		}
		for n, k := range read.keys {
			if *k.Reveal() == secret {
				t.Errorf("slot %d still has the key, as of %d", i, n)
			}
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
