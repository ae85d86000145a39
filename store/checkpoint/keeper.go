package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"scanrelay/store/durable"
)

// Path returns the path of the file in dir.
func Path(dir string) string { return filepath.Join(dir, "outbox.checkpoint") }

// Keeper keeps an account in a file. Any goroutine may use it.
type Keeper struct {
	Path     string
	MAC      func(purpose string) hash.Hash // under a key of the store's
	Believed func() func(time.Time) bool    // reports whether a clock that is right now can have said a time
	Logger   *slog.Logger
	Max      int64 // bytes that the file may have; a larger one is not written

	mu sync.Mutex // held while the file is read or written
}

// What keys are derived for.
const (
	signing = "scanrelay checkpoint"
	hashing = "scanrelay carried"
)

// New returns the account of no segments.
func (k *Keeper) New() *Account { return newAccount(k.Hasher(), k.Believed()) }

// Hasher returns a keyed hash of waybills' numbers, for one goroutine.
func (k *Keeper) Hasher() func(waybill []byte) uint64 {
	mac := k.MAC(hashing)
	return func(waybill []byte) uint64 {
		var sum [sha256.Size]byte
		mac.Reset()
		mac.Write(waybill) // never fails
		return binary.BigEndian.Uint64(mac.Sum(sum[:0]))
	}
}

// Read returns the account that was kept, without the segments up to one that was
// dropped; nil: there is none, or none to be believed.
func (k *Keeper) Read(dropped uint64) *Account {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.readLocked(dropped)
}

func (k *Keeper) readLocked(dropped uint64) *Account {
	a, err := k.load(k.Path)
	switch {
	case err == nil:
		a.forget(dropped)
	case !errors.Is(err, fs.ErrNotExist):
		k.Logger.Warn("checkpoint is passed over", "error", err)
	}
	return a
}

func (k *Keeper) load(path string) (*Account, error) {
	a := k.New()
	if err := a.load(path, k.MAC(signing)); err != nil {
		return nil, err
	}
	return a, nil
}

// Keep writes an account, if it came to something new.
func (k *Keeper) Keep(a *Account) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.keepLocked(a); err != nil {
		k.Logger.Debug("there is no checkpoint: the next start has more to read", "error", err)
	}
}

func (k *Keeper) keepLocked(a *Account) error {
	if !a.changed {
		return nil
	}
	b := a.encode(k.MAC(signing))
	if int64(len(b)) > k.Max {
		return fmt.Errorf("it would have %d bytes, at most %d may be", len(b), k.Max)
	}
	return durable.Create(k.Path, b)
}

// Reserve is by how much its files may yet grow. There is one of the two: while what was
// set aside is there, nothing is kept.
func (k *Keeper) Reserve() int64 {
	size, _ := k.Bytes()
	return max(0, k.Max-size)
}

// GoOn has what is kept go on to the end of segments. Where nothing is, the next
// start reads them all, and keeps what they come to.
func (k *Keeper) GoOn(dropped uint64, list []Source) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.readLocked(dropped)
	if a == nil {
		return
	}
	err := a.ReadAll(list)
	if errors.Is(err, ErrStale) {
		err = errors.Join(err, k.setAsideLocked())
	}
	if err == nil {
		err = k.keepLocked(a)
	}
	if err != nil {
		k.Logger.Debug("checkpoint does not go on: the next start has more to read", "error", err)
	}
}

// SetAside sets the file aside: the segments are not what they were. What it knows
// of events that had ended is compared with them at the next Start.
func (k *Keeper) SetAside() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.setAsideLocked()
}

func (k *Keeper) setAsideLocked() error {
	err := os.Rename(k.Path, k.aside())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set checkpoint aside: %w", err)
	}
	return nil
}

// Aside returns the account that was set aside; nil: there is none to be believed, nor
// will there be: what is found now is all that it is compared with.
func (k *Keeper) Aside() (*Account, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, err := k.load(k.aside())
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	k.Logger.Warn("checkpoint that was set aside is passed over", "error", err)
	return nil, k.RemoveAside()
}

// Known returns what is known of how events ended, for who only reads: what was set
// aside, else what is kept, as far as it is to be believed.
func (k *Keeper) Known() *Account {
	for _, path := range []string{k.aside(), k.Path} {
		if a, err := k.load(path); err == nil {
			return a
		}
	}
	return k.New()
}

// RemoveAside ends it, for good: a power cut must not bring it back.
func (k *Keeper) RemoveAside() error {
	err := os.Remove(k.aside())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(k.Path))
	}
	if err != nil {
		return fmt.Errorf("remove checkpoint: %w", err)
	}
	return nil
}

// Bytes is how large its files are, and what they take of the disk.
func (k *Keeper) Bytes() (size, onDisk int64) {
	for _, path := range []string{k.Path, k.aside()} {
		size += durable.Size(path)
		onDisk += durable.OnDisk(path)
	}
	return size, onDisk
}

func (k *Keeper) aside() string { return k.Path + ".before" }

// Verify says what is wrong with what is kept, by the account of all segments; "":
// nothing is.
func (k *Keeper) Verify(all *Account, dropped uint64, list []Source) string {
	a, err := k.load(k.Path)
	if err == nil {
		a.forget(dropped)
		err = a.ReadAll(list)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil:
		return err.Error()
	}
	if what := a.differs(all); what != "" {
		return "it does not come to what a recount does: " + what
	}
	return ""
}
