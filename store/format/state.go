package format

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/event"
)

// State is what the outbox knows beside its events and notes. Each segment has
// one, which is small enough for bbolt to keep it inside the root page, which
// every commit writes anyway: updating it there costs no page of its own. The
// newest segment's is the outbox's.
type State struct {
	NextSeq   uint64
	Watermark uint64
	Duplicate uint64
	Ignored   uint64
	Newest    time.Time // newest received_at under a believable clock
	Base      Totals    // of the segments that were unlinked
	Dropped   uint64    // number of the last unlinked segment
	Machine   string
	Damage    []string // what was found damaged, for people
	// Seen is since when segments are known to have begun or ended of which no
	// believable clock says it.
	Seen   map[uint64]time.Time
	Unkept bool   // something in Seen is not on disk yet
	NoRoom uint64 // dead letters that were discarded for want of room
	// Unmended are numbers of damaged segments that could not be rebuilt for want of
	// room.
	Unmended []uint64

	epochs []epochSpan
	boots  []bootClock
}

// Totals are counts of events and of notes.
type Totals struct {
	Received uint64
	Outcome  [event.NumStates]uint64 // events by how they ended
	Settled  [event.NumStates]uint64 // settlements, by outcome
	Requeued uint64
}

// Add adds the totals of something else.
func (t *Totals) Add(u *Totals) {
	t.Received += u.Received
	t.Requeued += u.Requeued
	for i := range t.Outcome {
		t.Outcome[i] += u.Outcome[i]
		t.Settled[i] += u.Settled[i]
	}
}

// epochSpan says which epoch the numbers from `from` on belong to.
type epochSpan struct{ from, epoch uint64 }

// part is what stands under a key of the state bucket. A missing one is its zero
// value, and one of a later release is passed over, so that keys may be added.
type part struct {
	key   string
	write func(*State, *codec.Encoder)
	read  func(*State, *codec.Decoder)
}

// KeyHead is the key of what changes with every commit.
var KeyHead = []byte("head")

var keyBase = []byte("base")

// parts of the state; the first is the head.
var parts = []part{
	{string(KeyHead), (*State).writeHead, (*State).readHead},
	{string(keyBase), (*State).writeBase, (*State).readBase},
	{"epochs", (*State).writeEpochs, (*State).readEpochs},
	{"boots", (*State).writeBoots, (*State).readBoots},
	{
		"machine", func(s *State, e *codec.Encoder) { e.Text(s.Machine) },
		func(s *State, d *codec.Decoder) { s.Machine = d.Text() },
	},
	{"damage", (*State).writeDamage, (*State).readDamage},
	{"seen", (*State).writeSeen, (*State).readSeen},
	{
		"no_room", func(s *State, e *codec.Encoder) { e.Uint(s.NoRoom) },
		func(s *State, d *codec.Decoder) { s.NoRoom = d.Uint() },
	},
	{"unmended", (*State).writeUnmended, (*State).readUnmended},
}

// StateKeys are what every state has.
var StateKeys = []string{parts[0].key, parts[1].key, parts[2].key}

func (p *part) store(s *State, b Putter) error {
	e := codec.NewEncoder(64)
	p.write(s, e)
	return b.Put([]byte(p.key), e.Frame([]byte(p.key)))
}

// StoreHead writes what changes with every commit.
func (s *State) StoreHead(b Putter) error { return parts[0].store(s, b) }

// StoreAll writes everything.
func (s *State) StoreAll(b Putter) error {
	for i := range parts {
		if err := parts[i].store(s, b); err != nil {
			return err
		}
	}
	return nil
}

// LoadState reads the state bucket.
func LoadState(b boltpage.Bucket) (*State, error) {
	s := &State{}
	for _, p := range parts {
		if v := b.Get([]byte(p.key)); v != nil {
			if err := s.Decode([]byte(p.key), v); err != nil {
				return nil, fmt.Errorf("read state %s: %w", p.key, err)
			}
		}
	}
	return s, nil
}

// Decode reads what stands under a key.
func (s *State) Decode(key, value []byte) error {
	d, err := codec.Decode(key, value)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.key == string(key) {
			p.read(s, d)
			return d.Done()
		}
	}
	return nil
}

func (s *State) writeHead(e *codec.Encoder) {
	e.Uint(s.NextSeq)
	e.Uint(s.Watermark)
	e.Uint(s.Duplicate)
	e.Uint(s.Ignored)
	e.Time(s.Newest)
}

func (s *State) readHead(d *codec.Decoder) {
	s.NextSeq, s.Watermark, s.Duplicate, s.Ignored = d.Uint(), d.Uint(), d.Uint(), d.Uint()
	s.Newest = d.Time()
}

func (s *State) writeBase(e *codec.Encoder) {
	e.Uint(s.Dropped)
	e.Uint(s.Base.Received)
	e.Uint(s.Base.Requeued)
	for _, o := range event.Outcomes() {
		e.Uint(s.Base.Outcome[o])
		e.Uint(s.Base.Settled[o])
	}
}

func (s *State) readBase(d *codec.Decoder) {
	s.Dropped, s.Base.Received, s.Base.Requeued = d.Uint(), d.Uint(), d.Uint()
	for _, o := range event.Outcomes() {
		s.Base.Outcome[o] = d.Uint()
		s.Base.Settled[o] = d.Uint()
	}
}

// EncodeBase returns the totals of what was unlinked, for [State.CatchUp].
func (s *State) EncodeBase() []byte {
	e := codec.NewEncoder(64)
	s.writeBase(e)
	return e.Frame(keyBase)
}

// CatchUp takes over the totals that are kept elsewhere, where these are of segments
// that were unlinked later, and the first that is left comes behind them.
func (s *State) CatchUp(base []byte, first uint64) {
	var t State
	if t.Decode(keyBase, base) == nil && s.Dropped < t.Dropped && t.Dropped < first {
		s.Base, s.Dropped = t.Base, t.Dropped
	}
}

func (s *State) writeSeen(e *codec.Encoder) {
	for _, key := range slices.Sorted(maps.Keys(s.Seen)) {
		e.Uint(key)
		e.Time(s.Seen[key])
	}
}

func (s *State) readSeen(d *codec.Decoder) {
	s.Seen = nil
	for d.More() {
		key := d.Uint()
		s.see(key, d.Time())
	}
}

// see keeps a moment in Seen.
func (s *State) see(key uint64, at time.Time) {
	if s.Seen == nil {
		s.Seen = map[uint64]time.Time{}
	}
	s.Seen[key] = at
}

func (s *State) writeEpochs(e *codec.Encoder) {
	for _, span := range s.epochs {
		e.Uint(span.from)
		e.Uint(span.epoch)
	}
}

func (s *State) readEpochs(d *codec.Decoder) {
	s.epochs = nil
	for d.More() {
		s.epochs = append(s.epochs, epochSpan{from: d.Uint(), epoch: d.Uint()})
	}
}

// EpochOf returns the epoch of a number; 0: it is not known.
func (s *State) EpochOf(seq uint64) uint64 {
	i := sort.Search(len(s.epochs), func(i int) bool { return s.epochs[i].from > seq })
	if i == 0 {
		return 0
	}
	return s.epochs[i-1].epoch
}

// Relabel gives all numbers from `from` on an epoch.
func (s *State) Relabel(from, epoch uint64) {
	for len(s.epochs) > 0 && s.epochs[len(s.epochs)-1].from >= from {
		s.epochs = s.epochs[:len(s.epochs)-1]
	}
	s.epochs = append(s.epochs, epochSpan{from: from, epoch: epoch})
}

// Prune forgets epochs and clocks of numbers below the first that is left, and what
// was seen of segments that are gone.
func (s *State) Prune(left func() uint64) {
	first := uint64(0)
	if len(s.epochs) > 1 || len(s.boots) > 0 {
		first = left()
	}
	for len(s.epochs) > 1 && s.epochs[1].from <= first {
		s.epochs = s.epochs[1:]
	}
	s.boots = slices.DeleteFunc(s.boots, func(b bootClock) bool { return b.upTo < first })
	maps.DeleteFunc(s.Seen, func(key uint64, _ time.Time) bool { return key/2 <= s.Dropped })
}

// Clone returns a copy that shares nothing with s.
func (s *State) Clone() *State {
	c := *s
	c.epochs = slices.Clone(s.epochs)
	c.boots = slices.Clone(s.boots)
	c.Seen = maps.Clone(s.Seen)
	c.Damage = slices.Clone(s.Damage)
	return &c
}

// maxDamage bounds what is kept of what was found damaged, in bytes: it is in
// the state, which every commit may write. Of too much the end is kept.
const maxDamage = 400

func (s *State) writeDamage(e *codec.Encoder) {
	all := strings.Join(s.Damage, "\n")
	if len(all) > maxDamage {
		all = "…" + strings.ToValidUTF8(all[len(all)-maxDamage:], "")
	}
	e.Text(all)
}

// beforeLines is what once stood between what was told of files.
var beforeLines = strings.NewReplacer("; segment", "\nsegment", "; the quarantine", "\nthe quarantine")

func (s *State) readDamage(d *codec.Decoder) {
	s.Damage = strings.FieldsFunc(beforeLines.Replace(d.Text()), func(r rune) bool { return r == '\n' })
}

func (s *State) writeUnmended(e *codec.Encoder) {
	for _, n := range s.Unmended {
		e.Uint(n)
	}
}

func (s *State) readUnmended(d *codec.Decoder) {
	s.Unmended = nil
	for d.More() {
		s.Unmended = append(s.Unmended, d.Uint())
	}
}

// RandomEpoch returns 64 random bits, never 0.
func RandomEpoch() (e uint64) {
	for e == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never returns an error
		e = binary.BigEndian.Uint64(b[:])
	}
	return e
}
