package release

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"scanrelay/configs/secret"
	"scanrelay/configs/textfile"
	"scanrelay/store/durable"
)

// Key signs for roles.
type Key struct {
	ID     string
	public *metadata.Key
	seed   []byte // nil: only the public half is here
}

// keyFile is how it is kept.
type keyFile struct {
	Public  *metadata.Key   `json:"public"`
	Private json.RawMessage `json:"private,omitempty"` // hex of the seed, encrypted
	Seed    string          `json:"seed,omitempty"`    // in clear, of a key that a centre signs with by itself
}

// maxKey bounds the file of a key.
const maxKey = 64 << 10

// NewKey makes a key and keeps it in a file, which must not be there, under a passphrase.
func NewKey(path string, passphrase secret.Text) (*Key, error) {
	if passphrase == "" {
		return nil, errors.New("make key: its passphrase is empty")
	}
	return makeKey(path, func(k *Key, f *keyFile) (err error) {
		f.Private, err = encrypted.Marshal(hex.EncodeToString(k.seed), []byte(passphrase.Reveal()))
		return err
	})
}

// NewOnlineKey makes a key without a passphrase, for a centre that signs timestamps by
// itself: whoever reads the file has it.
func NewOnlineKey(path string) (*Key, error) {
	return makeKey(path, func(k *Key, f *keyFile) error {
		f.Seed = hex.EncodeToString(k.seed)
		return nil
	})
}

func makeKey(path string, private func(*Key, *keyFile) error) (*Key, error) {
	if durable.Exists(path) {
		return nil, fmt.Errorf("make key: %s is there already", path)
	}
	public, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	k, err := newKey(public, secret.Seed())
	if err != nil {
		return nil, err
	}
	f := keyFile{Public: k.public}
	if err := private(k, &f); err != nil {
		return nil, fmt.Errorf("encrypt key: %w", err)
	}
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return k, durable.Create(path, append(text, '\n'))
}

func newKey(public ed25519.PublicKey, seed []byte) (*Key, error) {
	key, err := metadata.KeyFromPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	id, err := key.ID()
	if err != nil {
		return nil, fmt.Errorf("name key: %w", err)
	}
	return &Key{ID: id, public: key, seed: seed}, nil
}

// LoadKey reads a key's file. Without a passphrase it can say who it is, and sign nothing.
func LoadKey(path string, passphrase secret.Text) (*Key, error) {
	text, err := textfile.Read(path, maxKey)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	var f keyFile
	if err := json.Unmarshal(text, &f); err != nil || f.Public == nil {
		return nil, fmt.Errorf("read key: %s is none", path)
	}
	public, err := hex.DecodeString(f.Public.Value.PublicKey)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("read key: %s has no Ed25519 key", path)
	}
	var seed []byte
	hidden := f.Seed
	if passphrase != "" && len(f.Private) > 0 {
		if err := encrypted.Unmarshal(f.Private, &hidden, []byte(passphrase.Reveal())); err != nil {
			return nil, fmt.Errorf("read key: %s does not open with this passphrase", path)
		}
	}
	if hidden != "" {
		if seed, err = hex.DecodeString(hidden); err != nil || len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("read key: %s has no private half", path)
		}
		if made := ed25519.NewKeyFromSeed(seed).Public(); !ed25519.PublicKey(public).Equal(made) {
			return nil, fmt.Errorf("read key: the halves of %s are of two keys", path)
		}
	}
	return newKey(public, seed)
}

// WritePublic keeps the public half alone in a file, for who makes the root.
func (k *Key) WritePublic(path string) error {
	text, err := json.MarshalIndent(keyFile{Public: k.public}, "", " ")
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	if err := durable.Create(path, append(text, '\n')); err != nil {
		return err
	}
	return os.Chmod(path, 0o644) // everyone may know it
}

// Private reports whether the key can sign.
func (k *Key) Private() bool { return k.seed != nil }

func (k *Key) sign(body []byte) (signature, error) {
	if k.seed == nil {
		return signature{}, errors.New("sign: the private half of the key is needed, and its passphrase")
	}
	return signature{KeyID: k.ID, Sig: hex.EncodeToString(ed25519.Sign(ed25519.NewKeyFromSeed(k.seed), body))}, nil
}
