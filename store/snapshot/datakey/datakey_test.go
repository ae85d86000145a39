package datakey

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/store/masterkey"
)

var march = time.Date(2026, 3, 31, 23, 0, 0, 0, time.UTC)

func begun(t testing.TB, master masterkey.Key) *Ring {
	t.Helper()
	r := New()
	if err := r.Begin([]masterkey.Key{master}, []byte("the secret of phones"), march); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestVectors holds the cipher to those of its specification.
func TestVectors(t *testing.T) {
	nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
	for _, v := range []struct {
		key         byte
		bound, want string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		under := cipherOf(masterkey.Of((*[32]byte)(bytes.Repeat([]byte{v.key}, 32))))
		sealed := seal(under, nil, nonce, []byte("XAES-256-GCM"), []byte(v.bound))
		if got := hex.EncodeToString(sealed[nonceSize:]); got != v.want {
			t.Errorf("key %d: %s", v.key, got)
		}
		if plain, err := open(under, sealed, []byte(v.bound)); err != nil || string(plain) != "XAES-256-GCM" {
			t.Errorf("key %d: %q, %v", v.key, plain, err)
		}
	}
}

// TestBound: what is encrypted opens with what it was bound to alone, and whatever else
// is wrong with it is ErrKey.
func TestBound(t *testing.T) {
	r := begun(t, masterkey.Random())
	sealed := r.Seal(nil, []byte("张三"), []byte("waybills YT1"))
	if plain, err := r.Open(sealed, []byte("waybills YT1")); err != nil || string(plain) != "张三" {
		t.Fatal(plain, err)
	}
	if len(sealed) != Overhead+len("张三") || bytes.Equal(sealed, r.Seal(nil, []byte("张三"), []byte("waybills YT1"))) {
		t.Error("its length, or twice the same")
	}
	if _, err := r.Open(sealed, []byte("waybills YT2")); !errors.Is(err, ErrKey) {
		t.Errorf("another's: %v", err)
	}
	for i := range 8 * len(sealed) {
		bad := bytes.Clone(sealed)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := r.Open(bad, []byte("waybills YT1")); !errors.Is(err, ErrKey) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	for n := range sealed {
		if _, err := r.Open(sealed[:n], []byte("waybills YT1")); !errors.Is(err, ErrKey) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
	var unknown *UnknownError
	if _, err := New().Open(sealed, nil); !errors.As(err, &unknown) || unknown.Number != r.Entries()[1].Number {
		t.Errorf("without keys: %v", err)
	}
}

// TestMonths: each month has a key, whichever way the clock goes, and all of them read.
func TestMonths(t *testing.T) {
	r := begun(t, masterkey.Random())
	old := r.Seal(nil, []byte("old"), nil)
	for _, step := range []struct {
		at   time.Time
		made bool
	}{
		{march.Add(30 * time.Minute), false}, {march.Add(2 * time.Hour), true}, {march, false},
		{march.AddDate(73, 0, 0), true}, {march.Add(2 * time.Hour), false},
	} {
		e, due := r.Next(step.at)
		if due != step.made {
			t.Errorf("%s: made one: %v", step.at, due)
		}
		if due {
			if err := r.Take(e); err != nil {
				t.Fatal(err)
			}
		}
		if sealed := r.Seal(nil, nil, nil); int32(binary.BigEndian.Uint16(sealed)) != monthOf(step.at) {
			t.Errorf("%s: encrypted with the key of month %d", step.at, binary.BigEndian.Uint16(sealed))
		}
	}
	if plain, err := r.Open(old, nil); err != nil || string(plain) != "old" {
		t.Error(plain, err)
	}
}

// TestWrongKey: a ring opens with the master key that it was wrapped under, wherever
// that stands among those given, and is left as it was by others.
func TestWrongKey(t *testing.T) {
	master, other := masterkey.Random(), masterkey.Random()
	was := begun(t, master)
	for name, keys := range map[string][]masterkey.Key{"alone": {master}, "the third": {other, masterkey.Random(), master}} {
		r := New()
		if err := r.Load(keys, was.Entries()); err != nil || !r.Ready() || string(r.Secret()) != "the secret of phones" {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := New()
	if err := r.Load([]masterkey.Key{other}, was.Entries()); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "store.key_file") || r.Ready() {
		t.Errorf("a wrong one: %v", err)
	}
	swapped := was.Entries()
	swapped = []Entry{{Number: swapped[1].Number, Wrapped: swapped[0].Wrapped}, {Number: 0, Wrapped: swapped[1].Wrapped}}
	if err := r.Load([]masterkey.Key{master}, swapped); !errors.Is(err, ErrKey) {
		t.Errorf("under another's number: %v", err)
	}
	two := New()
	err := two.Load([]masterkey.Key{other, master}, was.Entries())
	e, _ := two.Next(march.AddDate(0, 1, 0))
	if err != nil || New().Load([]masterkey.Key{other}, []Entry{e}) != nil {
		t.Error("a new key is not wrapped under the first one given", err)
	}
}

// TestMasters: where a master key is looked for, and what is said where there is none.
func TestMasters(t *testing.T) {
	hexKey := func() string { return hex.EncodeToString(masterkey.Random().Reveal()[:]) }
	dir, creds := t.TempDir(), t.TempDir()
	says := func(given secret.Text, dir string, fresh bool, want string) {
		t.Helper()
		if _, err := Masters(given, dir, fresh); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	says("", dir, false, "centre.key is gone")
	says("", "", true, "store.key_file")
	says("1234", dir, true, "64 hex digits")
	if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
		t.Errorf("it made %v", left)
	}
	made, err := Masters("", dir, true)
	info, bad := os.Stat(filepath.Join(dir, FileName))
	if err != nil || bad != nil || len(made) == 0 || info.Mode() != 0o600 {
		t.Fatal(made, err, bad)
	}
	again, err := Masters("", dir, true)
	if err != nil || *again[0].Reveal() != *made[0].Reveal() {
		t.Error("another one", err)
	}
	three := hexKey() + "\n" + hexKey() + "\r\n" + hexKey() + "\n"
	if keys, err := Masters(secret.Text(three), dir, true); err != nil || len(keys) != 3 || hex.EncodeToString(keys[0].Reveal()[:]) != three[:64] {
		t.Error(keys, err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", creds)
	if err := os.WriteFile(filepath.Join(creds, Credential), []byte(three), 0o400); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]int{"": 3, dir: 3 + len(made), t.TempDir(): 3} {
		if keys, err := Masters("", in, true); err != nil || len(keys) != want {
			t.Errorf("%q: %d keys, %v", in, len(keys), err)
		}
	}
}

// Keys must not show, however they are printed.
func TestKeysDontPrint(t *testing.T) {
	master := masterkey.Random()
	r := begun(t, master)
	var secrets []string
	for _, k := range [][]byte{master.Reveal()[:], r.Secret()} {
		secrets = append(secrets, strings.Trim(fmt.Sprint(k[:4]), "[]"), fmt.Sprintf("%x", k[:4]), string(k[:8]))
	}
	for _, v := range []any{master, &master, r, *r.state.Load(), r.state.Load(), []masterkey.Key{master}, r.state.Load().now} {
		out := ""
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
			out += fmt.Sprintf(verb, v)
		}
		text, _ := json.Marshal(v)
		for _, s := range secrets {
			if strings.Contains(out+string(text), s) {
				t.Errorf("%T shows a key", v)
			}
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	r := begun(b, masterkey.Random())
	plain, bound := make([]byte, 600), make([]byte, 300)
	for b.Loop() {
		r.Seal(nil, plain, bound)
	}
}
