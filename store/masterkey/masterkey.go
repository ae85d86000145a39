package masterkey

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

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
func Create(path string) error {
	line := append(hex.AppendEncode(nil, Random().Reveal()[:]), '\n')
	b := append(bytes.Clone(line), bytes.Repeat([]byte{'\n'}, secondCopy-len(line))...)
	return durable.Create(path, append(b, line...))
}
