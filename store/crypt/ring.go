package crypt

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"scanrelay/store/codec"
	"scanrelay/store/durable"
)

// FileName is the file of the segments' keys, encrypted under the master key.
const FileName = "outbox.keys"

// QuarantineKey is the number under which the quarantine's key is kept;
// segments begin at 1.
const QuarantineKey = 0

// Ring keeps a key for each segment, apart from it, so that destroying a few
// bytes makes the segment's blocks, which an unlink leaves as they are on the
// flash, unreadable. Its file holds everything twice, in two slots that are
// overwritten in place one after the other: at each moment one of them is
// whole, and a key that was removed is in neither. Copies that the flash itself
// keeps of overwritten blocks are out of reach of any program.
//
// A slot: "SRK", format, generation (8 bytes), length (4), nonce (12), AES-GCM
// of number and key (8 and 32 bytes) of each segment, tag, CRC32C of all that.
type Ring struct {
	path     string
	readOnly bool
	mu       sync.Mutex
	master   func() cipher.AEAD
	gen      uint64
	keys     map[uint64]key
	taken    [2]int // bytes that the slots' contents take, old ones included
	whole    bool   // when it was opened both slots were good and equal
	behind   bool   // the file is: saving it failed
	opener   int    // which of the masters opened it
	warning  string // see Warning
}

const (
	ringHead   = 3 + 1 + 8 + 4
	ringEntry  = 8 + 32
	ringSlot   = 1 << 20 // where the second slot begins
	ringBlocks = 64 << 10
)

// Exists reports whether there is a file of keys in dir.
func Exists(dir string) bool { return durable.Exists(filepath.Join(dir, FileName)) }

// Whole reports whether both copies of the keys were good when they were opened.
func (r *Ring) Whole() bool { return r.whole }

// Warning says, for whoever runs the outbox, what is not as safe as it seems; ""
// if nothing.
func (r *Ring) Warning() string { return r.warning }

// Open opens the keys of the outbox in dir. fresh: nothing is stored yet,
// so keys are made where there are none. Unless readOnly, a store with a key file
// moves to the credential that it is given, and a copy that is damaged is mended.
// ErrKey: the master key, or the keys, are wrong or gone; nothing was changed.
func Open(dir string, readOnly, fresh bool) (*Ring, error) {
	r := &Ring{path: filepath.Join(dir, FileName), readOnly: readOnly, keys: map[uint64]key{}}
	there := durable.Exists(r.path)
	if readOnly && fresh && !there {
		return r, nil // format 1: nothing is encrypted
	}
	m, err := masterKeys(dir, !there && fresh && !readOnly)
	if err != nil {
		return nil, err
	}
	if !there {
		if readOnly || !fresh {
			return nil, fmt.Errorf("%w: %s, which holds the keys of what is stored, is gone: put it back from a backup; to begin anew, move the folder away", ErrKey, r.path)
		}
		r.master = m.keys[0].aead()
		if err := r.create(); err != nil {
			return r, err
		}
		return r, r.takeCredential(&m)
	}
	if err := r.load(m.keys); err != nil {
		return nil, err
	}
	if readOnly {
		return r, nil
	}
	if err := r.takeCredential(&m); err != nil {
		return nil, err
	}
	if !r.whole {
		return r, r.save()
	}
	return r, nil
}

// create makes the file with room for both slots, so that removing a key never
// lacks it.
func (r *Ring) create() error {
	r.keys[QuarantineKey] = randomKey()
	r.gen = 1
	slot := r.encode()
	temp := r.path + durable.TempSuffix
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("create keys: %w", err)
	}
	for i := range r.taken {
		if _, e := f.WriteAt(slot, int64(i)*ringSlot); err == nil {
			err = e
		}
		r.taken[i] = len(slot)
	}
	if err == nil {
		err = durable.Allocate(f, 0, ringBlocks)
	}
	if err == nil {
		err = durable.Allocate(f, ringSlot, ringBlocks)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, r.path)
	}
	if err != nil {
		return fmt.Errorf("create keys: %w", err)
	}
	return durable.SyncDir(filepath.Dir(r.path))
}

// load takes the newest slot that is good.
func (r *Ring) load(masters []key) error {
	f, err := os.Open(r.path)
	if err != nil {
		return fmt.Errorf("open keys: %w", err)
	}
	defer f.Close()
	var slots [2][]byte
	var gens [2]uint64
	newest := -1
	for i := range slots {
		if slots[i], err = readSlot(f, int64(i)*ringSlot); errors.Is(err, durable.ErrNewer) {
			return fmt.Errorf("%s: %w", r.path, err)
		} else if err != nil {
			r.taken[i] = ringBlocks // whatever is there gets overwritten
			continue
		}
		r.taken[i] = len(slots[i])
		gens[i] = binary.BigEndian.Uint64(slots[i][4:])
		if newest < 0 || gens[i] > gens[newest] {
			newest = i
		}
	}
	if newest < 0 {
		return fmt.Errorf("%w: %s, which holds the keys of what is stored, is damaged: put it back from a backup; to begin anew, move the folder away", ErrKey, r.path)
	}
	r.whole = slots[0] != nil && slots[1] != nil && gens[0] == gens[1]
	r.gen = gens[newest]
	for i, m := range masters {
		r.master = m.aead()
		if r.decode(slots[newest]) == nil {
			r.opener = i
			return nil
		}
	}
	return fmt.Errorf("%w: the key given is not the one that %s was made with: give that one, as %s in the folder or as systemd credential %s", ErrKey, r.path, keyName, credentialName)
}

// readSlot reads a slot as far as it can be checked without a key.
func readSlot(f io.ReaderAt, at int64) ([]byte, error) {
	head := make([]byte, ringHead)
	if _, err := f.ReadAt(head, at); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	n := int64(binary.BigEndian.Uint32(head[12:]))
	if string(head[:3]) != "SRK" || n > ringSlot-ringHead || n < codec.CRCSize {
		return nil, durable.ErrDamaged
	}
	slot := make([]byte, ringHead+n)
	if _, err := f.ReadAt(slot, at); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	sum := len(slot) - codec.CRCSize
	if codec.CRC(slot[:sum]) != binary.BigEndian.Uint32(slot[sum:]) {
		return nil, durable.ErrDamaged
	}
	if v := slot[3]; v > codec.Version {
		return nil, fmt.Errorf("%w (format %d, this one knows %d)", durable.ErrNewer, v, codec.Version)
	}
	return slot, nil
}

func (r *Ring) encode() []byte {
	plain := make([]byte, 0, len(r.keys)*ringEntry)
	for _, n := range slices.Sorted(maps.Keys(r.keys)) {
		plain = append(binary.BigEndian.AppendUint64(plain, n), r.keys[n].reveal()[:]...)
	}
	b := append(make([]byte, 0, ringHead+12+len(plain)+tagSize+codec.CRCSize), "SRK"...)
	b = append(b, codec.Version)
	b = binary.BigEndian.AppendUint64(b, r.gen)
	b = binary.BigEndian.AppendUint32(b, uint32(12+len(plain)+tagSize+codec.CRCSize))
	b = b[:ringHead+12]
	_, _ = rand.Read(b[ringHead:]) // never returns an error
	b = r.master().Seal(b, b[ringHead:], plain, slices.Clone(b[:ringHead]))
	return binary.BigEndian.AppendUint32(b, codec.CRC(b))
}

func (r *Ring) decode(slot []byte) error {
	if len(slot) < ringHead+12+tagSize+codec.CRCSize {
		return durable.ErrDamaged
	}
	sealed := slot[ringHead+12 : len(slot)-codec.CRCSize]
	plain, err := r.master().Open(nil, slot[ringHead:ringHead+12], sealed, slot[:ringHead])
	if err != nil || len(plain)%ringEntry != 0 {
		return ErrKey
	}
	for e := range slices.Chunk(plain, ringEntry) {
		r.keys[binary.BigEndian.Uint64(e)] = keyOf((*[32]byte)(slices.Clone(e[8:])))
	}
	return nil
}

// save overwrites both slots, one behind the other.
func (r *Ring) save() error {
	r.behind = true
	r.gen++
	slot := r.encode()
	if len(slot) > ringSlot {
		return fmt.Errorf("save keys: %d are too many", len(r.keys))
	}
	f, err := os.OpenFile(r.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("save keys: %w", err)
	}
	for i := range r.taken {
		b := slot
		if n := r.taken[i] - len(slot); n > 0 {
			b = append(slices.Clone(slot), make([]byte, n)...) // not a byte of the old one stays
		}
		if err == nil {
			_, err = f.WriteAt(b, int64(i)*ringSlot)
		}
		if err == nil {
			err = f.Sync()
		}
		if err == nil {
			r.taken[i] = len(slot)
		}
		r.taken[i] = max(r.taken[i], len(slot)) // what failed may be there in part
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("save keys: %w", err)
	}
	r.behind = false
	return nil
}

// Add makes the key of a new segment; it is on disk when this returns.
func (r *Ring) Add(number uint64) (*Cipher, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := randomKey()
	r.keys[number] = k
	if err := r.save(); err != nil {
		delete(r.keys, number)
		return nil, err
	}
	return newCipher(k), nil
}

// Cipher returns the one of a segment, nil if its key is gone.
func (r *Ring) Cipher(number uint64) *Cipher {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.keys[number]; ok {
		return newCipher(k)
	}
	return nil
}

// Keep destroys all keys but those that want says, and the quarantine's.
func (r *Ring) Keep(want func(number uint64) bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.keys)
	maps.DeleteFunc(r.keys, func(number uint64, _ key) bool { return number != QuarantineKey && !want(number) })
	if len(r.keys) == n && !r.behind {
		return nil
	}
	err := r.save()
	if durable.NoSpace(err) {
		return nil // behind says so; finish does it
	}
	return err
}

// Finish destroys the keys that could not be for lack of room: there are file
// systems that need some even to overwrite.
func (r *Ring) Finish() error { return r.Keep(func(uint64) bool { return true }) }
