package release

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"scanrelay/agent/update/trust"
	"scanrelay/store/durable"
)

// How long metadata holds. Gateways that are offline keep what they have whatever
// expires; these only bound for how long an old repository can be shown as the newest.
var lifetimes = map[string]time.Duration{
	trust.Root:      3 * 365 * 24 * time.Hour,
	trust.Targets:   365 * 24 * time.Hour,
	trust.Snapshot:  365 * 24 * time.Hour,
	trust.Timestamp: 30 * 24 * time.Hour,
}

// order is how metadata is published: nothing before what it needs.
var order = []string{trust.Root, trust.Targets, trust.Snapshot, trust.Timestamp}

// Repository is a publisher's folder.
type Repository struct {
	Dir string
	Now func() time.Time // nil: the clock
}

func (r Repository) now() time.Time {
	if r.Now != nil {
		return r.Now().UTC()
	}
	return time.Now().UTC()
}

// expiry is when metadata of a role that is made now expires.
func (r Repository) expiry(role string) time.Time {
	return r.now().Add(lifetimes[role]).Truncate(time.Second)
}

func (r Repository) path(name string) string { return filepath.Join(r.Dir, filepath.FromSlash(name)) }

func (r Repository) staged(role string) string { return r.path("staged/" + role + ".json") }

// write puts a file that everyone may read, whole.
func (r Repository) write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := durable.Create(path, content); err != nil {
		return err
	}
	return os.Chmod(path, 0o644) // durable's files are their owner's alone
}

// newest is the highest version of a role that was published; 0: none.
func (r Repository) newest(role string) (version int64, err error) {
	if role == trust.Timestamp {
		e, err := r.published(role, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		return e.head().Version, nil
	}
	entries, err := durable.ReadDir(r.Dir)
	if err != nil {
		return 0, fmt.Errorf("look into the repository: %w", err)
	}
	for _, entry := range entries {
		number, found := strings.CutSuffix(entry.Name(), "."+role+".json")
		if n, err := strconv.ParseInt(number, 10, 64); found && err == nil {
			version = max(version, n)
		}
	}
	return version, nil
}

func fileOf(role string, version int64) string {
	if role == trust.Timestamp {
		return "timestamp.json"
	}
	return fmt.Sprintf("%d.%s.json", version, role)
}

func (r Repository) published(role string, version int64) (*envelope, error) {
	data, err := durable.ReadFile(r.path(fileOf(role, version)))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", role, err)
	}
	return readEnvelope(data)
}

// last is the newest metadata of a role that was published, and its file; nil: none.
func (r Repository) last(role string) (*envelope, []byte, error) {
	version, err := r.newest(role)
	if err != nil || version == 0 {
		return nil, nil, err
	}
	data, err := durable.ReadFile(r.path(fileOf(role, version)))
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", role, err)
	}
	e, err := readEnvelope(data)
	return e, data, err
}

// waiting is what is staged for a role; nil: nothing.
func (r Repository) waiting(role string) (*envelope, error) {
	data, err := durable.ReadFile(r.staged(role))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read staged %s: %w", role, err)
	}
	return readEnvelope(data)
}

// stage puts metadata where it is signed.
func (r Repository) stage(role string, signed any) error {
	e, err := newEnvelope(signed)
	if err != nil {
		return err
	}
	return r.write(r.staged(role), e.bytes())
}

// roots are the root by which everything is signed, which is the first staged one before
// any was published, and the one that is staged.
func (r Repository) roots() (current, next *metadata.RootType, err error) {
	last, _, err := r.last(trust.Root)
	if err != nil {
		return nil, nil, err
	}
	waiting, err := r.waiting(trust.Root)
	if err != nil {
		return nil, nil, err
	}
	read := func(e *envelope) *metadata.RootType {
		if e == nil || err != nil {
			return nil
		}
		var m *metadata.Metadata[metadata.RootType]
		if m, err = metadata.Root().FromBytes(e.bytes()); err != nil {
			err = fmt.Errorf("read root: %w", err)
			return nil
		}
		return &m.Signed
	}
	current, next = read(last), read(waiting)
	if err == nil && current == nil && next == nil {
		err = fmt.Errorf("there is no repository in %s: make one with scanrelay release init", r.Dir)
	}
	return current, next, err
}

// about is what metadata says of another file of metadata.
func about(version int64, content []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(content)
	return &metadata.MetaFiles{Version: version, Length: int64(len(content)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

func hexSum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
