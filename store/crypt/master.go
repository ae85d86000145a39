package crypt

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

// ErrKey: the store's key is not the one that its data was written under, or is
// not there. Nothing was changed.
var ErrKey = errors.New("wrong or missing key")

// Names of the master key: a systemd credential, or else a file in the outbox's
// folder, made at the first start.
const (
	credentialName = "scanrelay-store-key"
	keyName        = "outbox.key"
)

// key is 256 secret bits. They stand behind a function, since fmt prints what is
// in unexported fields whatever methods it has, and with a verb that does not
// fit what is behind pointers, too.
type key struct{ reveal func() *[32]byte }

func keyOf(secret *[32]byte) key { return key{func() *[32]byte { return secret }} }

// Format prints nothing of the key, whatever the verb.
func (key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "key") } // into fmt's buffer

// MarshalText prints nothing of the key.
func (key) MarshalText() ([]byte, error) { return []byte("key"), nil }

func randomKey() key {
	secret := new([32]byte)
	_, _ = rand.Read(secret[:]) // never returns an error
	return keyOf(secret)
}

// aead returns AES-256-GCM under the key, behind a function for the same reason.
func (k key) aead() func() cipher.AEAD {
	block, err := aes.NewCipher(k.reveal()[:])
	if err == nil {
		var a cipher.AEAD
		if a, err = cipher.NewGCM(block); err == nil {
			return func() cipher.AEAD { return a }
		}
	}
	panic(err) // 32 bytes are always a key
}

// keyCopy is where the second copy of the key stands in its file: one bad page
// must not take everything with it.
const keyCopy = 8 << 10

// masters are the candidates for the master key: those of the credential, then
// those of the key file.
type masters struct {
	keys       []key
	credential int // how many are the credential's
}

// masterKeys reads the credential and the key file, which has two copies. make:
// there is nothing to be lost yet, so a key is made where there is none.
func masterKeys(dir string, make bool) (m masters, err error) {
	path := filepath.Join(dir, keyName)
	credential := credentialPath()
	if credential != "" {
		if m.keys, err = readKeys(credential); err != nil {
			return m, err
		}
		m.credential = len(m.keys)
		if !durable.Exists(path) {
			return m, nil
		}
	} else if make && !durable.Exists(path) {
		if err := makeKeyFile(path); err != nil {
			return m, err
		}
	}
	file, err := readKeys(path)
	if credential != "" && errors.Is(err, ErrKey) {
		err = nil // it is not needed
	}
	m.keys = append(m.keys, file...)
	return m, err
}

// credentialPath returns where systemd put the credential; "": there is none.
func credentialPath() string {
	if creds := os.Getenv("CREDENTIALS_DIRECTORY"); creds != "" {
		if path := filepath.Join(creds, credentialName); durable.Exists(path) {
			return path
		}
	}
	return ""
}

func readKeys(path string) ([]key, error) {
	b, err := durable.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: what is stored is encrypted and %s is gone: put it back from a backup, or give the same key as systemd credential %s; to begin anew, move the folder away", ErrKey, path, credentialName)
	}
	keys := parseKeys(b)
	if len(keys) == 0 && err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: %s holds no key, which is 64 hex digits: put it back from a backup", ErrKey, path)
	}
	return keys, nil
}

func parseKeys(b []byte) (keys []key) {
	for _, word := range bytes.Fields(bytes.ReplaceAll(b, []byte{0}, []byte{' '})) {
		secret := new([32]byte)
		if len(word) != 2*len(secret) {
			continue
		}
		if _, err := hex.Decode(secret[:], word); err == nil {
			keys = append(keys, keyOf(secret))
		}
	}
	return keys
}

// makeKeyFile makes the file with a new key, whole or not at all.
func makeKeyFile(path string) error {
	line := append(hex.AppendEncode(nil, randomKey().reveal()[:]), '\n')
	b := append(bytes.Clone(line), bytes.Repeat([]byte{'\n'}, keyCopy-len(line))...)
	return durable.Create(path, append(b, line...))
}
