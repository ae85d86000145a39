package masterkey

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"scanrelay/store/durable"
)

// ErrKey: a store's key is not the one that its data was written under, or is not
// there. Nothing was changed.
var ErrKey = errors.New("wrong or missing key")

// Key is 256 secret bits. They stand behind a function, since fmt prints what is
// in unexported fields whatever methods it has, and with a verb that does not
// fit what is behind pointers, too.
type Key struct{ reveal func() *[32]byte }

// Of is the key of these bits.
func Of(secret *[32]byte) Key { return Key{func() *[32]byte { return secret }} }

// Random makes a key.
func Random() Key {
	secret := new([32]byte)
	_, _ = rand.Read(secret[:]) // never returns an error
	return Of(secret)
}

// Reveal returns the bits themselves.
func (k Key) Reveal() *[32]byte { return k.reveal() }

// Fingerprint names the key, and tells nothing of it.
func (k Key) Fingerprint() string {
	sum := sha256.Sum256(append([]byte("scanrelay master key\x00"), k.reveal()[:]...))
	return hex.EncodeToString(sum[:8])
}

// Format prints nothing of the key, whatever the verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "key") } // into fmt's buffer

// MarshalText prints nothing of the key.
func (Key) MarshalText() ([]byte, error) { return []byte("key"), nil }

// AEAD returns AES-256-GCM under the key, behind a function for the same reason.
func (k Key) AEAD() func() cipher.AEAD {
	block, err := aes.NewCipher(k.reveal()[:])
	if err == nil {
		var a cipher.AEAD
		if a, err = cipher.NewGCM(block); err == nil {
			return func() cipher.AEAD { return a }
		}
	}
	panic(err) // 32 bytes are always a key
}

// Parse returns the keys in a text, and passes over all else.
func Parse(text []byte) (keys []Key) {
	for _, word := range bytes.Fields(bytes.ReplaceAll(text, []byte{0}, []byte{' '})) {
		secret := new([32]byte)
		if len(word) != 2*len(secret) {
			continue
		}
		if _, err := hex.Decode(secret[:], word); err == nil {
			keys = append(keys, Of(secret))
		}
	}
	return keys
}

// Credential returns where systemd put a credential; "": there is none.
func Credential(name string) string {
	if creds := os.Getenv("CREDENTIALS_DIRECTORY"); creds != "" {
		if path := filepath.Join(creds, name); durable.Exists(path) {
			return path
		}
	}
	return ""
}

// Read reads the keys in a file; credential is by which name they may be given
// otherwise.
func Read(path, credential string) ([]Key, error) {
	b, err := durable.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: what is stored is encrypted and %s is gone: put it back from a backup, or give the same key as systemd credential %s; to begin anew, move the folder away", ErrKey, path, credential)
	}
	keys := Parse(b)
	if len(keys) == 0 && err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: %s holds no key, which is 64 hex digits: put it back from a backup", ErrKey, path)
	}
	return keys, nil
}

// secondCopy is where the second copy of a key stands in its file: one bad page must
// not take everything with it.
const secondCopy = 8 << 10

// Create makes a file with a new key, whole or not at all.
func Create(path string) error { return durable.Create(path, copies(Random())) }

// copies is what a file of a key holds.
func copies(k Key) []byte {
	line := append(hex.AppendEncode(nil, k.Reveal()[:]), '\n')
	b := append(bytes.Clone(line), bytes.Repeat([]byte{'\n'}, secondCopy-len(line))...)
	return append(b, line...)
}

// Mend looks at a file of one key, of which is says whether it is the one that what is
// stored was written under. Unless readOnly, it makes a copy that is damaged, or not
// there, anew, in place: other blocks would keep the key when the file is destroyed. It
// returns what to say of it, also that it could not, for then the other copy will do; "":
// the file is whole, or a person's, with several keys.
func Mend(path string, is func(Key) bool, readOnly bool) (what string) {
	b, _ := durable.ReadFile(path) // who needs the key reads it himself
	keys := Parse(b)
	i := slices.IndexFunc(keys, is)
	if i < 0 {
		return ""
	}
	whole := copies(keys[i])
	others := slices.ContainsFunc(keys, func(k Key) bool { return *k.Reveal() != *keys[i].Reveal() })
	if bytes.Equal(b, whole) || others && len(b) != len(whole) {
		return ""
	}
	what = "one of the two copies in " + filepath.Base(path) + " is damaged, or there is none"
	if readOnly {
		return what
	}
	if err := restore(path, b, whole); err != nil {
		return what + ", and it cannot be written anew: " + err.Error()
	}
	return what + ": it was written anew"
}

// restore has the file at path, which holds b, hold whole and nothing else: one copy is whole at each
// moment.
func restore(path string, b, whole []byte) error {
	f, err := durable.Open(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b = append(b, make([]byte, len(whole))...)
	for _, at := range []int{secondCopy, 0} {
		half := whole[at:min(at+secondCopy, len(whole))]
		if bytes.Equal(b[at:at+len(half)], half) {
			continue
		}
		if _, err := f.WriteAt(half, int64(at)); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := f.Truncate(int64(len(whole))); err != nil {
		return err
	}
	return f.Sync()
}
