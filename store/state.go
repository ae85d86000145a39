package store

import (
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/codec"
	"scanrelay/store/event"
)

// Keys of a segment's state bucket. It is small enough for bbolt to keep it
// inside the root page, which every commit writes anyway: updating it there
// costs no page of its own. The newest segment's state is the outbox's.
var (
	keyHead    = []byte("head")
	keyBase    = []byte("base")
	keyEpochs  = []byte("epochs")
	keyBoots   = []byte("boots")
	keyMachine = []byte("machine")
	keyDamage  = []byte("damage")
)

// state is what the outbox knows beside its events and notes.
type state struct {
	nextSeq   uint64
	watermark uint64
	duplicate uint64
	ignored   uint64
	newest    time.Time // newest received_at under a believable clock
	base      totals    // of the segments that were unlinked
	dropped   uint64    // number of the last unlinked segment
	epochs    []epochSpan
	boots     []bootClock
	machine   string
	damage    string
}

// totals are counts of events and of notes.
type totals struct {
	received uint64
	outcome  [event.NumStates]uint64 // events by how they ended
	settled  [event.NumStates]uint64 // settlements, by outcome
	requeued uint64
}

func (t *totals) add(u *totals) {
	t.received += u.received
	t.requeued += u.requeued
	for i := range t.outcome {
		t.outcome[i] += u.outcome[i]
		t.settled[i] += u.settled[i]
	}
}

// epochSpan says which epoch the numbers from `from` on belong to.
type epochSpan struct{ from, epoch uint64 }

// bootClock resolves the clockless events of one boot, or of anyBoot, with
// numbers up to upTo:
// moment 0 of the boot was at zero, or, if fixed, all of them take zero itself.
type bootClock struct {
	boot  string
	upTo  uint64
	zero  time.Time
	fixed bool
}

// storeHead writes what changes with every commit.
func (s *state) storeHead(b *bolt.Bucket) error {
	e := codec.NewEncoder(48)
	e.Uint(s.nextSeq)
	e.Uint(s.watermark)
	e.Uint(s.duplicate)
	e.Uint(s.ignored)
	e.Time(s.newest)
	return b.Put(keyHead, e.Frame(keyHead))
}

// storeAll writes everything.
func (s *state) storeAll(b *bolt.Bucket) error {
	for key, enc := range map[string]*codec.Encoder{
		string(keyBase): s.encodeBase(), string(keyEpochs): s.encodeEpochs(),
		string(keyBoots): s.encodeBoots(), string(keyMachine): encodeText(s.machine), string(keyDamage): encodeText(s.damage),
	} {
		if err := b.Put([]byte(key), enc.Frame([]byte(key))); err != nil {
			return err
		}
	}
	return s.storeHead(b)
}

func encodeText(s string) *codec.Encoder {
	e := codec.NewEncoder(len(s) + 2)
	e.Text(s)
	return e
}

func (s *state) encodeBase() *codec.Encoder {
	e := codec.NewEncoder(128)
	e.Uint(s.dropped)
	e.Uint(s.base.received)
	e.Uint(s.base.requeued)
	for _, o := range event.Outcomes() {
		e.Uint(s.base.outcome[o])
		e.Uint(s.base.settled[o])
	}
	return e
}

func (s *state) encodeEpochs() *codec.Encoder {
	e := codec.NewEncoder(16 * len(s.epochs))
	for _, span := range s.epochs {
		e.Uint(span.from)
		e.Uint(span.epoch)
	}
	return e
}

func (s *state) encodeBoots() *codec.Encoder {
	e := codec.NewEncoder(64 * len(s.boots))
	for _, b := range s.boots {
		e.Text(b.boot)
		e.Uint(b.upTo)
		e.Time(b.zero)
		fixed := byte(0)
		if b.fixed {
			fixed = 1
		}
		e.Byte(fixed)
	}
	return e
}

// loadState reads the state bucket. A missing key is its zero value, so that a
// later version may add keys.
func loadState(b *bolt.Bucket) (*state, error) {
	s := &state{}
	for _, key := range [][]byte{keyHead, keyBase, keyEpochs, keyBoots, keyMachine, keyDamage} {
		v := b.Get(key)
		if v == nil {
			continue
		}
		d, err := codec.Decode(key, v)
		if err == nil {
			err = s.decode(string(key), d)
		}
		if err != nil {
			return nil, fmt.Errorf("read state %s: %w", key, err)
		}
	}
	return s, nil
}

// decode reads what stands under a key. A key of a later version is passed.
func (s *state) decode(key string, d *codec.Decoder) error {
	switch key {
	case string(keyHead):
		s.decodeHead(d)
	case string(keyBase):
		s.decodeBase(d)
	case string(keyEpochs):
		s.epochs = nil
		s.decodeEpochs(d)
	case string(keyBoots):
		s.boots = nil
		s.decodeBoots(d)
	case string(keyMachine):
		s.machine = d.Text()
	case string(keyDamage):
		s.damage = d.Text()
	default:
		return nil
	}
	return d.Done()
}

func (s *state) decodeHead(d *codec.Decoder) {
	s.nextSeq, s.watermark, s.duplicate, s.ignored = d.Uint(), d.Uint(), d.Uint(), d.Uint()
	s.newest = d.Time()
}

func (s *state) decodeBase(d *codec.Decoder) {
	s.dropped, s.base.received, s.base.requeued = d.Uint(), d.Uint(), d.Uint()
	for _, o := range event.Outcomes() {
		s.base.outcome[o] = d.Uint()
		s.base.settled[o] = d.Uint()
	}
}

func (s *state) decodeEpochs(d *codec.Decoder) {
	for d.More() {
		s.epochs = append(s.epochs, epochSpan{from: d.Uint(), epoch: d.Uint()})
	}
}

func (s *state) decodeBoots(d *codec.Decoder) {
	for d.More() {
		s.boots = append(s.boots, bootClock{boot: d.Text(), upTo: d.Uint(), zero: d.Time(), fixed: d.Byte() == 1})
	}
}

// epochOf returns the epoch of a number.
func (s *state) epochOf(seq uint64) uint64 {
	i, found := slices.BinarySearchFunc(s.epochs, seq, func(e epochSpan, seq uint64) int {
		switch {
		case e.from < seq:
			return -1
		case e.from > seq:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	if i < 0 {
		return 0
	}
	return s.epochs[i].epoch
}

// relabel gives all numbers from `from` on the epoch.
func (s *state) relabel(from, epoch uint64) {
	for len(s.epochs) > 0 && s.epochs[len(s.epochs)-1].from >= from {
		s.epochs = s.epochs[:len(s.epochs)-1]
	}
	s.epochs = append(s.epochs, epochSpan{from: from, epoch: epoch})
}

// prune forgets spans and boots of numbers below first, which are gone.
func (s *state) prune(first uint64) {
	for len(s.epochs) > 1 && s.epochs[1].from <= first {
		s.epochs = s.epochs[1:]
	}
	s.boots = slices.DeleteFunc(s.boots, func(b bootClock) bool { return b.upTo < first })
}

// clone returns a copy that shares nothing with s.
func (s *state) clone() *state {
	c := *s
	c.epochs = slices.Clone(s.epochs)
	c.boots = slices.Clone(s.boots)
	return &c
}
