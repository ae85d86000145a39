package datakey

import (
	"cmp"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"scanrelay/store/masterkey"
)

// Entry is a wrapped key as a store keeps it, under its number: that of a data key begins
// with its month; 0 is the secret by which phones are searched.
//
// A wrapped key: 'K', the month of a data key (4 bytes, of years × 12), nonce (24), the
// key encrypted under the master key, tag (16). Its number and all before the nonce are
// bound to it.
type Entry struct {
	Number  uint32
	Wrapped []byte
}

// EntryKey is the key of an entry in a store.
func EntryKey(number uint32) []byte { return binary.BigEndian.AppendUint32(nil, number) }

const (
	entryForm = 'K'
	entryHead = 1 + 4
	keySize   = 32

	secretNumber = 0
)

// Sound tells whether an entry has the form of one, which is seen without any key.
func (e Entry) Sound() bool {
	return len(e.Wrapped) > entryHead+nonceSize+tagSize && e.Wrapped[0] == entryForm
}

func (e Entry) bound() []byte {
	return append(append([]byte("scanrelay centre key "), EntryKey(e.Number)...), e.Wrapped[:entryHead]...)
}

// Ring holds the keys of one store. It may be used by many at once.
type Ring struct {
	mu      sync.Mutex // of who changes it
	masters []masterkey.Key
	state   atomic.Pointer[state]
}

// state is immutable.
type state struct {
	version int
	entries []Entry // by number
	keys    map[uint32]dataKey
	now     dataKey // to encrypt with
	secret  func() []byte
}

type dataKey struct {
	number uint32
	month  int32
	cipher func(half []byte) cipher.AEAD
}

// New returns a ring without any key: of a store that has none yet.
func New() *Ring {
	r := &Ring{}
	r.state.Store(&state{})
	return r
}

// Load takes the keys of a store, all of which the masters must open: else it is
// ErrKey, and the ring is as it was.
func (r *Ring) Load(masters []masterkey.Key, entries []Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &state{version: r.state.Load().version}
	for _, e := range entries {
		if err := s.take(masters, e); err != nil {
			return err
		}
	}
	r.masters = masters
	r.state.Store(s)
	return nil
}

// Use takes other master keys, which must open these entries of the store: else, or where
// err is why there are none, it is an error, and the ring is as it was. The first is the one
// to wrap with from now on.
func (r *Ring) Use(entries []Entry, masters []masterkey.Key, err error) error {
	if err == nil {
		err = r.Load(masters, entries)
	}
	if err != nil {
		return fmt.Errorf("use other master keys: %w", err)
	}
	return nil
}

// take adds a wrapped key.
func (s *state) take(masters []masterkey.Key, e Entry) error {
	if !e.Sound() {
		return fmt.Errorf("%w: key %d of the store has no form that is known", ErrKey, e.Number)
	}
	plain, err := e.open(masters)
	if err == nil {
		s.add(e, plain)
	}
	return err
}

// open gives the key that an entry wraps.
func (e Entry) open(masters []masterkey.Key) ([]byte, error) {
	for _, m := range masters {
		plain, err := open(cipherOf(m), e.Wrapped[entryHead:], e.bound())
		if err == nil && (e.Number == secretNumber || len(plain) == keySize) {
			return plain, nil
		}
	}
	return nil, fmt.Errorf("%w: key %d of the store was wrapped under none of the %d master keys given: give that one too, as a line of store.key_file, as systemd credential %s or, for bbolt, as %s in data_dir",
		ErrKey, e.Number, len(masters), Credential, FileName)
}

// Rewrap gives those entries anew that the first of the masters does not open, wrapped under
// it; the others must open them.
func Rewrap(masters []masterkey.Key, entries []Entry) (anew []Entry, err error) {
	for _, e := range entries {
		if !e.Sound() {
			return nil, fmt.Errorf("%w: key %d of the store has no form that is known", ErrKey, e.Number)
		}
		if _, err := e.open(masters[:1]); err == nil {
			continue
		}
		plain, err := e.open(masters)
		if err != nil {
			return nil, err
		}
		anew = append(anew, wrap(masters[0], e.Number, int32(binary.BigEndian.Uint32(e.Wrapped[1:])), plain))
	}
	return anew, nil
}

// add takes a key and its wrapped form.
func (s *state) add(e Entry, plain []byte) {
	at, there := slices.BinarySearchFunc(s.entries, e, func(x, y Entry) int { return cmp.Compare(x.Number, y.Number) })
	if there {
		return
	}
	s.version++
	s.entries = slices.Insert(slices.Clone(s.entries), at, e)
	if e.Number == secretNumber {
		s.secret = func() []byte { return plain }
		return
	}
	k := dataKey{number: e.Number, month: int32(binary.BigEndian.Uint32(e.Wrapped[1:])), cipher: cipherOf(masterkey.Of((*[32]byte)(plain)))}
	s.keys = maps.Clone(s.keys)
	if s.keys == nil {
		s.keys = map[uint32]dataKey{}
	}
	if s.keys[k.number] = k; k.number > s.now.number {
		s.now = k
	}
}

// wrap makes the entry of a key.
func wrap(master masterkey.Key, number uint32, month int32, plain []byte) Entry {
	e := Entry{Number: number, Wrapped: binary.BigEndian.AppendUint32([]byte{entryForm}, uint32(month))}
	e.Wrapped = seal(cipherOf(master), e.Wrapped, newNonce(), plain, e.bound())
	return e
}

func newNonce() []byte {
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // never returns an error
	return nonce
}

// Begin makes what a store lacks of its keys: its secret for phones, which becomes this
// one, and a data key. Those that it has stay.
func (r *Ring) Begin(masters []masterkey.Key, secret []byte, now time.Time) error {
	entries := slices.Clone(r.Entries())
	if r.Secret() == nil {
		entries = append(entries, wrap(masters[0], secretNumber, 0, secret))
	}
	if !r.Ready() {
		entries = append(entries, newEntry(masters[0], monthOf(now)))
	}
	return r.Load(masters, entries)
}

// Next makes the entry of this month's data key where there is none. It is to be stored
// no later than what is encrypted with it, and then loaded, or taken. Else that key is
// the one to encrypt with.
func (r *Ring) Next(now time.Time) (e Entry, _ bool) {
	month := monthOf(now)
	if r.state.Load().now.month == month {
		return e, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := *r.state.Load()
	for _, k := range s.keys {
		if k.month == month { // the clock went back
			s.now = k
			r.state.Store(&s)
			return e, false
		}
	}
	return newEntry(r.masters[0], month), true
}

// newEntry makes a data key. Half of its number is random: one that was lost, and what is
// encrypted under it, must not be taken for it.
func newEntry(master masterkey.Key, month int32) Entry {
	random := make([]byte, 2)
	_, _ = rand.Read(random) // never returns an error
	number := uint32(month)<<16 | uint32(binary.BigEndian.Uint16(random))
	return wrap(master, number, month, masterkey.Random().Reveal()[:])
}

// Take adds an entry.
func (r *Ring) Take(e Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := *r.state.Load()
	err := s.take(r.masters, e)
	if err == nil {
		r.state.Store(&s)
	}
	return err
}

// Has tells whether there is a data key of that number.
func (r *Ring) Has(number uint32) bool {
	_, ok := r.state.Load().keys[number]
	return ok
}

func monthOf(t time.Time) int32 {
	t = t.UTC()
	return int32(t.Year()*12 + int(t.Month()) - 1)
}

// Ready tells whether there are keys.
func (r *Ring) Ready() bool { return r.state.Load().now.number != 0 }

// Version changes with what Entries gives.
func (r *Ring) Version() int { return r.state.Load().version }

// Entries are all wrapped keys, by number. They must not be changed.
func (r *Ring) Entries() []Entry { return r.state.Load().entries }

// Secret is what phones are searched by; nil: there is none.
func (r *Ring) Secret() []byte {
	if secret := r.state.Load().secret; secret != nil {
		return secret()
	}
	return nil
}

// Overhead is what an encrypted text takes beside its plain: number of the key, nonce
// and tag.
const Overhead = 4 + nonceSize + tagSize

// Seal appends plain, encrypted and bound to something, to dst.
func (r *Ring) Seal(dst, plain, bound []byte) []byte {
	k := r.state.Load().now
	return seal(k.cipher, binary.BigEndian.AppendUint32(dst, k.number), newNonce(), plain, bound)
}

// Open decrypts what Seal appended. Its error is ErrKey.
func (r *Ring) Open(sealed, bound []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, fmt.Errorf("%w: an encrypted part of %d bytes", ErrKey, len(sealed))
	}
	number := binary.BigEndian.Uint32(sealed)
	k, ok := r.state.Load().keys[number]
	if !ok {
		return nil, &UnknownError{number}
	}
	plain, err := open(k.cipher, sealed[4:], bound)
	if err != nil {
		return nil, fmt.Errorf("%w: a value does not open with data key %d, under which it says it is", ErrKey, number)
	}
	return plain, nil
}

// UnknownError is ErrKey of a data key that the ring does not have: another process may
// have made it.
type UnknownError struct{ Number uint32 }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("%v: data key %d, under which it is encrypted, is not in the store: put back a backup that has it", ErrKey, e.Number)
}

// Unwrap makes it ErrKey.
func (e *UnknownError) Unwrap() error { return ErrKey }
