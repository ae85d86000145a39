package identity

import (
	"context"
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
	"slices"
	"syscall"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/wait"
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
	// Token is the hash of the token that it was enrolled with last, "" if none; Used
	// are those with which keys were enrolled before it.
	Token string   `json:"token,omitempty"`
	Used  []string `json:"used,omitempty"`
}

// maxUsed bounds the tokens that are remembered.
const maxUsed = 16

// knows reports whether this key or one before it was enrolled with a token.
func (k *Key) knows(token secret.Text) bool {
	hash := tokenHash(token)
	return k.Token == hash || slices.Contains(k.Used, hash)
}

// used are all tokens that a key knows.
func (k *Key) used() []string {
	if k == nil {
		return nil
	}
	all := slices.Clone(k.Used)
	if k.Token != "" && !slices.Contains(all, k.Token) {
		all = append(all, k.Token)
	}
	return all[max(0, len(all)-maxUsed):]
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
		return errors.Join(durable.WriteFile(temp, append(data, '\n')), k.own(temp))
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

// Begin returns the key to enrol with a token ("" for none): one that was begun, with
// whatever token, since the centre may have it, or another. It is on disk when this
// returns.
func (k *Keys) Begin(token secret.Text) (*Key, error) {
	key, err := k.Next()
	if err != nil || key != nil && key.Token == tokenHash(token) {
		return key, err
	}
	current, err := k.Current()
	if err != nil {
		return nil, err
	}
	if key == nil {
		key = &Key{Version: version, Depot: k.depot, Seed: make([]byte, ed25519.SeedSize)}
		rand.Read(key.Seed) // never fails
	}
	key.Token, key.Used = tokenHash(token), current.used()
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

// lock waits until no other process changes the keys, and keeps it so until release: an
// agent that runs and a command would each undo what the other does. Where nothing
// can be locked nothing can be written.
func (k *Keys) lock(ctx context.Context) (release func(), err error) {
	f, err := durable.Open(filepath.Join(k.dataDir, Folder), os.O_RDONLY, 0)
	if err != nil {
		return func() {}, nil
	}
	fd := int(f.Fd())
	for errors.Is(syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
		if !wait.Sleep(ctx, lockLook) {
			_ = f.Close()
			return nil, fmt.Errorf("wait for another process that changes the depot's key: %w", context.Cause(ctx))
		}
	}
	return func() {
		_ = syscall.Flock(fd, syscall.LOCK_UN) // a program that is being started may have a copy of it
		_ = f.Close()
	}, nil
}

// lockLook is how often a lock is tried.
const lockLook = 50 * time.Millisecond

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
