package format

import (
	"bytes"
	"cmp"
	"fmt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
)

// Rebuilt is what a segment that was rebuilt says of what it lacks: a crash right
// after must not silence the alarm, and what was set aside is looked at again.
type Rebuilt struct {
	Report string // for people
	Lost   []Span // numbers of events that could not be read
	Notes  uint64 // how many notes could not, at least
}

// Span is a run of numbers.
type Span struct{ From, To uint64 }

func (s Span) String() string {
	if s.From == s.To {
		return fmt.Sprint(s.From)
	}
	return fmt.Sprintf("%d-%d", s.From, s.To)
}

// keyRebuilt is in the state of a rebuilt segment, and of no other.
var keyRebuilt = []byte("rebuilt")

// Store writes it into a state bucket.
func (r *Rebuilt) Store(b Putter) error {
	e := codec.NewEncoder(64 + len(r.Report))
	e.Text(r.Report)
	e.Uint(r.Notes)
	for _, s := range r.Lost {
		e.Uint(s.From)
		e.Uint(s.To)
	}
	return b.Put(keyRebuilt, e.Frame(keyRebuilt))
}

// loadRebuilt reads it; nil: the segment is as it was written.
func loadRebuilt(b boltpage.Bucket) (*Rebuilt, error) {
	v := b.Get(keyRebuilt)
	if v == nil {
		return nil, nil
	}
	return DecodeRebuilt(keyRebuilt, v)
}

// DecodeRebuilt reads it from a state bucket's entry; an error: it is another.
func DecodeRebuilt(key, value []byte) (*Rebuilt, error) {
	d, err := codec.Decode(keyRebuilt, value) // whose checksum is over its key, too
	if err != nil || !bytes.Equal(key, keyRebuilt) {
		return nil, cmp.Or(err, durable.ErrDamaged)
	}
	r := &Rebuilt{Report: d.Text(), Notes: d.Uint()}
	for d.More() {
		r.Lost = append(r.Lost, Span{d.Uint(), d.Uint()})
	}
	return r, d.Done()
}
