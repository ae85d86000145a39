package checkpoint

import (
	"crypto/hmac"
	"fmt"
	"hash"
	"maps"
	"slices"

	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
)

// layout is the version of what stands in the frame. A file of another one is
// passed over.
const layout = 2

var keyCheckpoint = []byte("checkpoint")

// encode returns the account as a file holds it. mac signs it.
func (a *Account) encode(mac hash.Hash) []byte {
	a.Prune()
	e := codec.NewEncoder(4096)
	e.Byte(layout)
	e.Uint(uint64(len(a.Segments)))
	for _, s := range a.Segments {
		e.Text(string(s.encode()))
	}
	e.Uint(uint64(len(a.Retried)))
	for _, seq := range slices.Sorted(maps.Keys(a.Retried)) {
		e.Uint(seq)
		e.Time(a.Retried[seq])
	}
	e.Uint(uint64(len(a.Tried)))
	for _, seq := range slices.Sorted(maps.Keys(a.Tried)) {
		e.Uint(seq)
		e.Uint(a.Tried[seq].Segment)
		e.Uint(a.Tried[seq].Key)
	}
	mac.Reset()
	mac.Write(e.Begun()) // never fails
	return codec.Frame(keyCheckpoint, mac.Sum(e.Begun()))
}

// load takes in what encode returned. An error that is fs.ErrNotExist: there is nothing;
// ErrDamaged: it is not what was kept in this store; ErrNewer: a newer scanrelay
// wrote it. Then nothing is to be believed of the account.
func (a *Account) load(path string, mac hash.Hash) error {
	b, err := durable.ReadFile(path)
	if err != nil {
		return err
	}
	body, err := codec.Unframe(keyCheckpoint, b)
	if err != nil {
		return err
	}
	n := len(body) - mac.Size()
	if n < 1 {
		return fmt.Errorf("%w: %d bytes", durable.ErrDamaged, len(b))
	}
	if body[0] > layout {
		return fmt.Errorf("%w (layout %d, this one knows %d)", durable.ErrNewer, body[0], layout)
	}
	if body[0] < layout {
		return fmt.Errorf("%w: it has layout %d of an earlier scanrelay", ErrStale, body[0])
	}
	mac.Reset()
	mac.Write(b[:1+n]) // never fails
	if !hmac.Equal(mac.Sum(nil), body[n:]) {
		return fmt.Errorf("%w: it is of another store", durable.ErrDamaged)
	}
	return a.decode(codec.NewDecoder(body[1:n]))
}

func (a *Account) decode(d *codec.Decoder) error {
	for range d.Count() {
		s, err := decodeSegment(codec.NewDecoder([]byte(d.Text())))
		if err != nil {
			return err
		}
		if n := len(a.Segments); n > 0 && s.Number <= a.Segments[n-1].Number {
			d.Fail("segments are out of order")
		}
		a.Segments = append(a.Segments, s)
		for seq := range s.Arrived {
			a.carried[seq] = s // it lives in the last one
		}
	}
	for range d.Count() {
		a.Retried[d.Uint()] = d.Time()
	}
	for range d.Count() {
		a.Tried[d.Uint()] = Ref{d.Uint(), d.Uint()}
	}
	return d.Done()
}

func (s *Segment) encode() []byte {
	e := codec.NewEncoder(256)
	for _, v := range []uint64{s.Number, s.First, s.Last, uint64(s.lastSum), s.Notes, uint64(s.noteSum), s.Open} {
		e.Uint(v)
	}
	for _, v := range fieldsOf(&s.Totals) {
		e.Uint(*v)
	}
	e.Time(s.Finished)
	e.Byte(flag(s.Unclear))
	for _, v := range s.Weights.fields() {
		e.Int(*v)
	}
	encodeRuns(e, s.stands)
	e.Uint(uint64(len(s.Arrived)))
	for _, seq := range slices.Sorted(maps.Keys(s.Arrived)) {
		a := s.Arrived[seq]
		e.Uint(seq)
		e.Uint(a.Waybill)
		e.Byte(flag(a.Later.Known))
		e.Int(a.Later.Action)
		e.Byte(byte(a.stands))
	}
	return e.Begun()[1:]
}

func decodeSegment(d *codec.Decoder) (*Segment, error) {
	s := &Segment{seen: true, Number: d.Uint(), First: d.Uint(), Last: d.Uint(), lastSum: uint32(d.Uint()), Notes: d.Uint(), noteSum: uint32(d.Uint()), Open: d.Uint()}
	for _, v := range fieldsOf(&s.Totals) {
		*v = d.Uint()
	}
	s.Finished, s.Unclear = d.Time(), d.Byte() == 1
	for _, v := range s.Weights.fields() {
		*v = d.Int()
	}
	s.stands = decodeRuns(d, s.Last+1-s.First)
	n := d.Count()
	s.Arrived = make(map[uint64]*Arrived, n)
	for range n {
		seq := d.Uint()
		s.Arrived[seq] = &Arrived{Waybill: d.Uint(), Later: event.Later{Known: d.Byte() == 1, Action: d.Int()}, stands: event.State(d.Byte())}
	}
	return s, d.Done()
}

func fieldsOf(t *format.Totals) []*uint64 {
	fields := []*uint64{&t.Received, &t.Requeued}
	for _, o := range event.Outcomes() {
		fields = append(fields, &t.Outcome[o], &t.Settled[o])
	}
	return fields
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// stateBits is what a state takes of a run's number.
const stateBits = 4

// encodeRuns writes how events in a row stand: of each run of the same state how
// long it is and which, in one number.
func encodeRuns(e *codec.Encoder, stands []event.State) {
	for i := 0; i < len(stands); {
		first := i
		for i++; i < len(stands) && stands[i] == stands[first]; i++ {
		}
		e.Uint(uint64(i-first)<<stateBits | uint64(stands[first]))
	}
}

// maxOwn is more than a segment of the largest size has room for.
const maxOwn = 1 << 24

// decodeRuns reads what encodeRuns wrote of so many events.
func decodeRuns(d *codec.Decoder, own uint64) []event.State {
	if own > maxOwn {
		d.Fail("events out of place")
		return nil
	}
	stands := make([]event.State, 0, own)
	for left := own; left > 0; {
		run := d.Uint()
		n, st := run>>stateBits, event.State(run&(1<<stateBits-1))
		if n == 0 || n > left || st > elsewhere {
			d.Fail("events out of place")
			return nil
		}
		stands = append(stands, slices.Repeat([]event.State{st}, int(n))...)
		left -= n
	}
	return stands
}
