package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store/durable"
	"scanrelay/uplink/syncapi"
)

// Folder holds all of this, in data_dir.
const Folder = "identity"

// Names of its files.
const (
	keyName  = "key"   // that counts
	nextName = "next"  // that is being enrolled
	bootName = "boot"  // names the last start of the agent
	ownName  = "depot" // whose data_dir it is
)

const version = 1

// Keys are the files of a data_dir.
type Keys struct {
	dataDir string
	depot   scan.DepotID
}

// Key is a depot's key.
type Key struct {
	Version int          `json:"version"`
	Depot   scan.DepotID `json:"depot"`
	Seed    []byte       `json:"seed"`
	// Token is the hash of the token that it was made for, "" if none.
	Token string `json:"token,omitempty"`
}

// Private is the key itself.
func (k *Key) Private() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.Seed) }

// Fingerprint names it as the centre does.
func (k *Key) Fingerprint() string {
	return syncapi.Fingerprint(k.Private().Public().(ed25519.PublicKey))
}

// ErrOther: the data_dir is another depot's.
var ErrOther = errors.New("two depots must not share what was scanned")

// Open makes the folder and refuses one of another depot with ErrOther. After any
// other error, as on a disk that is full, the keys can be used as far as that goes.
func Open(dataDir string, depot scan.DepotID) (*Keys, error) {
	k := &Keys{dataDir, depot}
	dir := filepath.Join(dataDir, Folder)
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = errors.Join(k.own(dir), durable.SyncDir(dataDir))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return k, fmt.Errorf("make %s: %w", dir, err)
	}
	return k, k.claim()
}

// claim notes whose data_dir this is.
func (k *Keys) claim() error {
	var own struct {
		Version int          `json:"version"`
		Depot   scan.DepotID `json:"depot"`
	}
	switch ok, err := k.read(ownName, &own, &own.Version); {
	case err != nil:
		return err
	case !ok:
		own.Version, own.Depot = version, k.depot
		return k.write(ownName, own)
	case own.Depot != k.depot:
		return fmt.Errorf("data_dir %s belongs to depot %s, and depot.id is %s: %w; "+
			"give %[3]s a data_dir of its own, or put depot.id right", k.dataDir, own.Depot, k.depot, ErrOther)
	}
	return nil
}

func (k *Keys) path(name string) string { return filepath.Join(k.dataDir, Folder, name) }

// own gives a file that root has made to the owner of data_dir, who must read it.
func (k *Keys) own(path string) error {
	info, err := os.Stat(k.dataDir)
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return os.Chown(path, int(st.Uid), int(st.Gid))
}

func (k *Keys) write(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	err = durable.Build(k.path(name), func(temp string) error {
		return errors.Join(os.WriteFile(temp, append(data, '\n'), 0o600), k.own(temp))
	})
	if err != nil {
		return fmt.Errorf("write the depot's identity: %w", err)
	}
	return nil
}

// read reports whether there is such a file.
func (k *Keys) read(name string, into any, has *int) (bool, error) {
	data, err := durable.ReadFile(k.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read the depot's identity: %w", err)
	case json.Unmarshal(data, into) != nil || *has < 1:
		return false, fmt.Errorf("read the depot's identity: %s: %w", k.path(name), durable.ErrDamaged)
	case *has > version:
		return false, fmt.Errorf("%s: %w (version %d, this one knows %d)", k.path(name), durable.ErrNewer, *has, version)
	}
	return true, nil
}

// key reads one of the keys; nil if there is none. One that is damaged is none, too:
// what is to be done about it is the same.
func (k *Keys) key(name string) (*Key, error) {
	var key Key
	ok, err := k.read(name, &key, &key.Version)
	switch {
	case errors.Is(err, durable.ErrDamaged), ok && len(key.Seed) != ed25519.SeedSize:
		return nil, durable.SetAside(k.path(name), durable.AsideName(k.path(name)))
	case err != nil || !ok:
		return nil, err
	case key.Depot != k.depot:
		return nil, fmt.Errorf("%s is depot %s's, and depot.id is %s", k.path(name), key.Depot, k.depot)
	}
	return &key, nil
}

// Current is the key that counts; nil if there is none.
func (k *Keys) Current() (*Key, error) { return k.key(keyName) }

// Next is one whose enrolment has begun; nil if there is none.
func (k *Keys) Next() (*Key, error) { return k.key(nextName) }

// Begin returns the key to enrol with a token ("" for none): the one that was begun
// with the same, or another. It is on disk when this returns.
func (k *Keys) Begin(token secret.Text) (*Key, error) {
	key, err := k.Next()
	if err != nil || key != nil && key.Token == tokenHash(token) {
		return key, err
	}
	key = &Key{Version: version, Depot: k.depot, Seed: make([]byte, ed25519.SeedSize), Token: tokenHash(token)}
	rand.Read(key.Seed) // never fails
	return key, k.write(nextName, key)
}

// Promote makes the next key the one that counts.
func (k *Keys) Promote() error {
	err := os.Rename(k.path(nextName), k.path(keyName))
	if err == nil {
		err = durable.SyncDir(filepath.Join(k.dataDir, Folder))
	}
	if err != nil {
		return fmt.Errorf("take up the depot's new key: %w", err)
	}
	return nil
}

// tokenHash tells one token from another, and nothing of it.
func tokenHash(token secret.Text) string {
	if token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("scanrelay enrol token\x00" + token.Reveal()))
	return hex.EncodeToString(sum[:16])
}

type boot struct {
	Version int    `json:"version"`
	Boot    string `json:"boot"`
}

// NewBoot names a start of the agent; each has another name. One that could not be
// written is good for the agent, and unknown to commands.
func (k *Keys) NewBoot() (string, error) {
	b := boot{version, rand.Text()}
	return b.Boot, k.write(bootName, b)
}

// Boot is the name of the agent's last start, which a command speaks for.
func (k *Keys) Boot() (string, error) {
	var b boot
	if ok, err := k.read(bootName, &b, &b.Version); ok || err != nil && !errors.Is(err, durable.ErrDamaged) {
		return b.Boot, err
	}
	return k.NewBoot()
}
