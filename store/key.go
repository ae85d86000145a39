package store

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
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
const keyCopy = 2 * boltpage.PageSize

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
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: what is stored is encrypted and %s is gone: put it back from a backup, or give the same key as systemd credential %s; to begin anew, move the folder away", ErrKey, path, credentialName)
	}
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	keys := parseKeys(b)
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

// What a sealed record is; part of its nonce, so that none passes for another.
const (
	kindEvent = 1 + iota
	kindCarried
	kindReject
	kindReason // of a note, under the note's number
)

const (
	saltSize = 4
	tagSize  = 16
	// sealOverhead is what a sealed record has beside its fields.
	sealOverhead = 1 + saltSize + tagSize + codec.CRCSize
)

// sealer encrypts the records of one file.
type sealer struct {
	aead func() cipher.AEAD
	mac  func(purpose string) hash.Hash // under a key derived for the purpose
}

func newSealer(k key) *sealer {
	return &sealer{aead: k.aead(), mac: func(purpose string) hash.Hash {
		derived := hmac.New(sha256.New, k.reveal()[:])
		derived.Write([]byte(purpose)) // never fails
		return hmac.New(sha256.New, derived.Sum(nil))
	}}
}

// newSalt makes the nonces of a commit its own: a number may be given twice,
// when a commit failed or was lost in a power cut, and no nonce must be.
func newSalt() (salt [saltSize]byte) {
	_, _ = rand.Read(salt[:]) // never returns an error
	return salt
}

// seal encrypts a frame that was begun with its version byte and closes it:
//
//	version | salt (4 bytes) | AES-GCM of the body, and its tag (16) | CRC32C
//
// The nonce is the salt, the record's kind and its number, which is its key.
func (s *sealer) seal(kind byte, key []byte, salt [saltSize]byte, framed []byte) []byte {
	out := make([]byte, 0, len(framed)+sealOverhead-1)
	out = append(append(out, framed[0]), salt[:]...)
	out = s.aead().Seal(out, nonce(kind, key, salt[:]), framed[1:], framed[:1])
	return codec.Frame(key, out)
}

// open checks and decrypts what seal made, into scratch if it is large enough.
// Records of format 1 were in clear.
func (s *sealer) open(kind byte, key, value, scratch []byte) ([]byte, error) {
	sealed, err := codec.Unframe(key, value)
	if err != nil || value[0] == 1 {
		return sealed, err
	}
	if s == nil || len(sealed) < saltSize+tagSize {
		return nil, fmt.Errorf("%w: it cannot be decrypted", ErrDamaged)
	}
	body, err := s.aead().Open(scratch[:0], nonce(kind, key, sealed[:saltSize]), sealed[saltSize:], value[:1])
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be decrypted", ErrDamaged)
	}
	return body, nil
}

func nonce(kind byte, key, salt []byte) []byte {
	n := append(make([]byte, 0, 12), salt...)
	n = binary.BigEndian.AppendUint64(n, codec.Seq(key))
	n[saltSize] ^= kind // numbers stay below 2⁵⁶
	return n
}
