package checkpoint

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"hash"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
)

func newKeeper(t testing.TB, key string) *Keeper {
	return &Keeper{
		Max:  1 << 20,
		Path: filepath.Join(t.TempDir(), "checkpoint"), Logger: slog.New(slog.DiscardHandler),
		MAC:      func(purpose string) hash.Hash { return hmac.New(sha256.New, []byte(key+purpose)) },
		Believed: func() func(time.Time) bool { return func(time.Time) bool { return true } },
	}
}

// history makes an account of random events and notes.
func history(k *Keeper, rnd *rand.Rand) *Account {
	a := k.New()
	a.changed = true
	next := uint64(1)
	for number := range uint64(3) {
		s, err := a.segment(Source{Number: number + 1, First: next})
		if err != nil {
			panic(err)
		}
		n := uint64(rnd.IntN(50))
		s.grow(next+n-1, 7)
		next += n
		for i := uint64(1); i < next; i++ {
			if p, ok := a.find(i); !ok || *p.at != event.Unsynced || rnd.IntN(2) == 0 {
				continue
			}
			note := event.Note{Kind: event.NoteOutcome, Seq: i, At: time.Unix(int64(rnd.IntN(1e9)), 0), Outcome: event.Pushed + event.State(rnd.IntN(6))}
			switch rnd.IntN(4) {
			case 0:
				note = event.Note{Kind: event.NoteAttempt, Seq: i, Attempts: 3}
			case 1:
				if a.At(i) == nil && i < s.First {
					if err := a.arrive(s, i, arrival{Arrived{Waybill: rnd.Uint64()}, 400}); err != nil {
						panic(err)
					}
					note = event.Note{Kind: event.NoteRequeue, Copied: true, Seq: i, At: time.Unix(7, 0), Later: event.Later{Action: -5, Known: true}}
				}
			}
			s.Notes, s.noteSum = s.Notes+1, rnd.Uint32()
			if err := a.note(s, s.Notes, &note); err != nil {
				panic(err)
			}
		}
	}
	return a
}

func TestKeptAccountIsTheSame(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		k := newKeeper(t, "a")
		a := history(k, rnd)
		k.Keep(a)
		b, err := k.load(k.Path)
		if err != nil {
			t.Fatal(err)
		}
		if what := b.differs(a); what != "" || !b.Segments[0].Finished.Equal(a.Segments[0].Finished.Truncate(time.Microsecond)) {
			t.Fatalf("seed %d: %s", seed, what)
		}
		c := history(k, rand.New(rand.NewPCG(seed, 2)))
		if b.differs(c) == "" {
			t.Fatalf("seed %d: another history is taken for the same", seed)
		}
		k.MAC = newKeeper(t, "b").MAC
		if _, err := k.load(k.Path); !errors.Is(err, durable.ErrDamaged) || !strings.Contains(err.Error(), "another store") {
			t.Fatalf("under another key: %v", err)
		}
	}
}

// An account that was kept goes on like the one that read all: of several notes the
// last holds. What is said of an event that is not there is not guessed.
func TestKeptAccountGoesOn(t *testing.T) {
	k := newKeeper(t, "a")
	a := k.New()
	a.changed = true
	s, _ := a.segment(Source{Number: 1, First: 1})
	s.grow(2, 7)
	if err := a.note(s, 1, &event.Note{Kind: event.NoteOutcome, Seq: 1, Outcome: event.Pushed}); err != nil {
		t.Fatal(err)
	}
	k.Keep(a)
	b, err := k.load(k.Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*Account{a, b} {
		s := a.Segments[0]
		if err := a.note(s, 2, &event.Note{Kind: event.NoteOutcome, Seq: 1, Outcome: event.Expired}); err != nil || s.Totals.Outcome[event.Pushed] != 0 || s.Totals.Outcome[event.Expired] != 1 {
			t.Errorf("the last note does not hold: %v, %v", err, s.Totals)
		}
		s.stands[1] = elsewhere
		if err := a.note(s, 3, &event.Note{Kind: event.NoteOutcome, Seq: 2, Outcome: event.Pushed}); !errors.Is(err, ErrStale) {
			t.Errorf("an event ends that was carried away: %v", err)
		}
	}
}

// FuzzDecode: whatever is signed, decoding it ends, without a panic.
func FuzzDecode(f *testing.F) {
	k := newKeeper(f, "a")
	for seed := range uint64(5) {
		b := history(k, rand.New(rand.NewPCG(seed, 1))).encode(k.MAC(signing))
		f.Add(b[2 : len(b)-codec.CRCSize-sha256.Size])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 2000 {
			return
		}
		a := k.New()
		if err := a.decode(codec.NewDecoder(body)); err == nil {
			a.encode(k.MAC(signing))
		}
	})
}

// Whichever notes are gone, with those that Lost gives each event ends as it had; one
// that was put back and died again may be tried once more.
func TestLostEnds(t *testing.T) {
	k, lost := newKeeper(t, "a"), 0
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		const events = 20
		known, left := k.New(), k.New()
		for _, a := range []*Account{known, left} {
			for number, first := range []uint64{1, 1 + events/2} {
				s, err := a.segment(Source{Number: uint64(number) + 1, First: first})
				if err != nil {
					t.Fatal(err)
				}
				s.grow(first+events/2-1, 7)
			}
		}
		from := uint64(rnd.IntN(40))
		gone := from + uint64(rnd.IntN(20))
		for key := range uint64(60) {
			n := event.Note{Kind: event.NoteOutcome, Seq: 1 + rnd.Uint64N(events), At: time.Unix(int64(key), 0), Outcome: event.Pushed + event.State(rnd.IntN(6))}
			p, _ := known.find(n.Seq)
			switch st := *p.at; {
			case st == event.Dead && rnd.IntN(2) == 0:
				n.Kind, n.Outcome = event.NoteRequeue, event.Unsynced
			case st == event.Dead:
				n.Outcome = event.Discarded
			case st.Finished():
				continue
			}
			for a, reads := range map[*Account]bool{known: true, left: key < from || key > gone} {
				if reads {
					if err := a.note(a.Segments[1], key, &n); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		stands := func(seq uint64) (pending, dead bool) {
			p, _ := left.find(seq)
			return *p.at == event.Unsynced, *p.at == event.Dead
		}
		var all []Lost
		for part := range known.Lost(left, 3, stands) {
			all = append(all, part...)
		}
		lost += len(all)
		for i := range all {
			l := &all[i]
			for _, n := range l.notes(time.Unix(1, 0)) {
				if p, _ := left.find(l.Seq); n.Outcome == event.Discarded && *p.at != event.Dead || n.Kind == event.NoteRequeue && *p.at != event.Dead || n.Outcome == event.Dead && *p.at == event.Dead {
					t.Errorf("seed %d: %+v about an event that is %s", seed, n, *p.at)
				}
				if err := left.note(left.Segments[1], 99, &n); err != nil {
					t.Fatal(err)
				}
			}
		}
		for seq := range uint64(events) {
			had, _ := known.find(seq + 1)
			has, _ := left.find(seq + 1)
			_, retried := left.Retried[seq+1]
			if had.at.Finished() && *has.at != *had.at && !(*had.at == event.Dead && retried) {
				t.Errorf("seed %d: event %d is %s, was %s", seed, seq+1, *has.at, *had.at)
			}
			if *had.at == event.Unsynced && has.at.Finished() && *has.at != event.Dead {
				t.Errorf("seed %d: event %d is %s, was pending", seed, seq+1, *has.at)
			}
		}
	}
	if lost < 500 {
		t.Errorf("only %d ends were lost", lost)
	}
}

// few is a bucket of a few records.
type few [][2][]byte

func (f few) Cursor() boltpage.Cursor { return &cursor{f, f} }
func (f few) Get(key []byte) []byte {
	_, value := f.Cursor().Seek(key)
	return value
}

type cursor struct{ all, left few }

func (c *cursor) First() (key, value []byte) {
	c.left = c.all
	return c.here()
}

func (c *cursor) Last() (key, value []byte) {
	c.left = c.all[max(0, len(c.all)-1):]
	return c.here()
}

func (c *cursor) Next() (key, value []byte) {
	c.left = c.left[1:]
	return c.here()
}

func (c *cursor) Seek(from []byte) (key, value []byte) {
	key, value = c.First()
	for key != nil && bytes.Compare(key, from) < 0 {
		key, value = c.Next()
	}
	return key, value
}

func (c *cursor) here() (key, value []byte) {
	if len(c.left) == 0 {
		return nil, nil
	}
	return c.left[0][0], c.left[0][1]
}

// notes is a file that has nothing but a note.
type notes struct{ few }

func (notes) Size() int64 { return boltpage.PageSize }

func (n notes) Bucket(name []byte) boltpage.Bucket {
	if bytes.Equal(name, format.BucketNotes) {
		return n.few
	}
	return few{}
}

// Who is told to stop while he reads a segment does not read it to its end.
func TestReadingStops(t *testing.T) {
	note := event.Note{Kind: event.NoteAttempt, Seq: 1, Attempts: 1}
	file := notes{few{{codec.Key(1), codec.EncodeNote(codec.Key(1), &note, "")}}}
	stop := make(chan struct{})
	src := []Source{{Number: 1, First: 2, Stop: stop, View: func(fn func(boltpage.Reader) error) error { return fn(file) }}}
	k := newKeeper(t, "a")
	if err := k.New().ReadAll(src); err != nil {
		t.Errorf("before: %v", err)
	}
	close(stop)
	if err := k.New().ReadAll(src); !errors.Is(err, event.ErrClosed) {
		t.Errorf("after: %v", err)
	}
}

// An account that would take more than it may is not kept: what was kept before stays,
// and the next start reads more.
func TestKeptAccountIsBounded(t *testing.T) {
	k := newKeeper(t, "a")
	small := k.New()
	small.changed = true
	k.Keep(small)
	size, _ := k.Bytes()
	large := history(k, rand.New(rand.NewPCG(3, 3)))
	need := int64(len(large.encode(k.MAC(signing))))
	for _, c := range []struct{ most, want int64 }{{need - 1, size}, {need, need}} {
		k.Max = c.most
		if reserve := k.Reserve(); reserve != c.most-size {
			t.Errorf("%d bytes are reserved, want %d", reserve, c.most-size)
		}
		k.Keep(large)
		if got, _ := k.Bytes(); got != c.want {
			t.Errorf("with at most %d bytes %d are kept, want %d", c.most, got, c.want)
		}
	}
	if k.Reserve() != 0 {
		t.Error("more is reserved than may be kept")
	}
}
