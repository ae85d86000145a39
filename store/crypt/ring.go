package crypt

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/masterkey"
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
	path    string
	mu      sync.Mutex
	master  func() cipher.AEAD
	opened  key // that master is of, once the file was opened
	gen     uint64
	keys    map[uint64]key
	taken   [2]int // bytes that the slots' contents take, old ones included
	whole   bool   // when it was opened both slots were good and equal
	behind  bool   // the file is: saving it failed
	warning string // see Warning
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
// moves to the credential that it is given, and a copy that is damaged, of them or of
// the master key, is mended.
// ErrKey: the master key, or the keys, are wrong or gone; nothing was changed.
func Open(dir string, readOnly, fresh bool) (*Ring, error) {
	r := &Ring{path: filepath.Join(dir, FileName), keys: map[uint64]key{}}
	there := durable.Exists(r.path)
	if readOnly && fresh && !there {
		return r, nil // format 1: nothing is encrypted
	}
	m, err := masterKeys(dir, !there && fresh && !readOnly)
	if err != nil {
		return nil, err
	}
	switch {
	case there:
		if err = r.load(m.keys); err == nil && m.credential == 0 {
			r.warning = masterkey.Mend(filepath.Join(dir, keyName), func(k key) bool { return *k.Reveal() == *r.opened.Reveal() }, readOnly)
		}
	case readOnly || !fresh:
		err = fmt.Errorf("%w: %s, which holds the keys of what is stored, is gone: put it back from a backup; to begin anew, move the folder away", ErrKey, r.path)
	default:
		r.master, r.whole = m.keys[0].AEAD(), true
		err = r.create()
	}
	if err == nil && !readOnly {
		err = r.takeCredential(&m)
	}
	if err == nil && !readOnly && !r.whole {
		err = r.save()
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// create makes the file with room for both slots, so that removing a key never
// lacks it.
func (r *Ring) create() error {
	r.keys[QuarantineKey] = masterkey.Random()
	return durable.Build(r.path, func(temp string) error {
		f, err := durable.Open(temp, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		err = errors.Join(durable.Allocate(f, 0, ringBlocks), durable.Allocate(f, ringSlot, ringBlocks), f.Close())
		if err != nil {
			return err
		}
		return r.saveTo(temp)
	})
}

// load takes the newest slot that is good.
func (r *Ring) load(masters []key) error {
	f, err := durable.OpenFile(r.path)
	if err != nil {
		return fmt.Errorf("open keys: %w", err)
	}
	defer f.Close()
	var slots [2][]byte
	newest := -1
	for i := range slots {
		if slots[i], err = readSlot(f, int64(i)*ringSlot); errors.Is(err, durable.ErrNewer) {
			return fmt.Errorf("%s: %w", r.path, err)
		} else if err != nil {
			r.taken[i] = ringBlocks // whatever is there gets overwritten
			continue
		}
		r.taken[i] = len(slots[i])
		if newest < 0 || generation(slots[i]) > generation(slots[newest]) {
			newest = i
		}
	}
	if newest < 0 {
		return fmt.Errorf("%w: %s, which holds the keys of what is stored, is damaged: put it back from a backup; to begin anew, move the folder away", ErrKey, r.path)
	}
	r.whole = slots[0] != nil && slots[1] != nil && generation(slots[0]) == generation(slots[1])
	r.gen = generation(slots[newest])
	for _, m := range masters {
		r.master = m.AEAD()
		if r.decode(slots[newest]) == nil {
			r.opened = m
			return nil
		}
	}
	return fmt.Errorf("%w: the key given is not the one that %s was made with: give that one, as %s in the folder or as systemd credential %s", ErrKey, r.path, keyName, credentialName)
}

func generation(slot []byte) uint64 { return binary.BigEndian.Uint64(slot[4:]) }

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
		plain = append(binary.BigEndian.AppendUint64(plain, n), r.keys[n].Reveal()[:]...)
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
	encrypted := slot[ringHead+12 : len(slot)-codec.CRCSize]
	plain, err := r.master().Open(nil, slot[ringHead:ringHead+12], encrypted, slot[:ringHead])
	if err != nil || len(plain)%ringEntry != 0 {
		return ErrKey
	}
	for e := range slices.Chunk(plain, ringEntry) {
		r.keys[binary.BigEndian.Uint64(e)] = masterkey.Of((*[32]byte)(slices.Clone(e[8:])))
	}
	return nil
}

func (r *Ring) save() error { return r.saveTo(r.path) }

// saveTo overwrites both slots, one behind the other.
func (r *Ring) saveTo(path string) error {
	r.behind = true
	r.gen++
	slot := r.encode()
	if len(slot) > ringSlot {
		return fmt.Errorf("save keys: %d are too many", len(r.keys))
	}
	f, err := durable.Open(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("save keys: %w", err)
	}
	defer f.Close()
	for i := range r.taken {
		r.taken[i] = max(r.taken[i], len(slot)) // until it is written all may be there in part
		whole := append(slices.Clone(slot), make([]byte, r.taken[i]-len(slot))...)
		if _, err = f.WriteAt(whole, int64(i)*ringSlot); err == nil {
			err = f.Sync()
		}
		if err != nil {
			return fmt.Errorf("save keys: %w", err)
		}
		r.taken[i] = len(slot)
	}
	r.behind = false
	return nil
}

// Add makes the key of a new segment; it is on disk when this returns.
func (r *Ring) Add(number uint64) (*Cipher, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := masterkey.Random()
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

// MAC is one under a key that lives as long as the store does, for a purpose; of a
// store of format 1, which nothing is added to, under none.
func (r *Ring) MAC(purpose string) hash.Hash {
	if c := r.Cipher(QuarantineKey); c != nil {
		return c.MAC(purpose)
	}
	return hmac.New(sha256.New, nil)
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
