package journal

import (
	"errors"
	"fmt"
	"slices"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/later"
)

const (
	// carryChunk is how many events are read at once to be carried.
	carryChunk = 100
	// carryBytes bounds what is carried in one commit, and with it how long a scan
	// may have to wait for it.
	carryBytes = 64 << 10
	// deadShare is the part of the store that dead letters may fill, when room is
	// needed, and so may what waits for waybill data; crowdedShare the one from which
	// on people are to be told.
	deadShare    = 4
	crowdedShare = 7 // 15 %, about
)

// Tasks are what the writer is to do for who works aside. An error of one is as
// fatal as one of Commit.
func (j *Journal) Tasks() <-chan func() error { return j.tasks }

// inWriter has the writer do something, and returns what came of it. ErrClosed:
// the journal is being closed.
func (j *Journal) inWriter(fn func() error) error {
	done := make(chan error, 1)
	task := func() error {
		err := fn()
		done <- err
		if errors.Is(err, ErrNoSpace) {
			return nil
		}
		return err
	}
	select {
	case j.tasks <- task:
		return <-done
	case <-j.stop:
		return event.ErrClosed
	}
}

// startClearing clears the oldest segment aside, so that it can be dropped. The
// writer calls it.
func (j *Journal) startClearing(s *segment, force bool) {
	if !j.clearing.CompareAndSwap(false, true) {
		return
	}
	j.stirred = map[uint64]bool{}
	j.background.Go(func() {
		err := j.clear(s, force)
		if err == nil {
			err = j.inWriter(func() error {
				j.clearing.Store(false)
				if s != j.oldest() { // it is gone; whether the next one is to follow, and by force, is asked anew
					return nil
				}
				return j.DropOldest(force)
			})
		} else {
			j.clearing.Store(false)
		}
		if err != nil && !errors.Is(err, ErrNoSpace) && !errors.Is(err, event.ErrClosed) {
			j.opts.Logger.Error("segment cannot be cleared", "segment", s.number, "error", err)
		}
	})
}

// clear carries what is unfinished in a segment, with its numbers, into the newest
// one: a few events in each commit. A crash between two leaves each event in one
// or in both, and the later one counts.
func (j *Journal) clear(s *segment, force bool) error {
	if force {
		if err := errors.Join(j.thinDead(j.capacity()/deadShare), j.thinWaiting()); err != nil {
			return err
		}
	}
	seqs := j.unfinishedIn(s)
	if j.drains(s, seqs) {
		return ErrNoSpace
	}
	notes, err := j.notesFrom(s, seqs)
	if errors.Is(err, durable.ErrDamaged) { // that must not hold the segment for ever
		j.opts.Logger.Error("not all notes can be read: what is carried may lack its reason", "segment", s.number, "error", err)
	} else if err != nil {
		return err
	}
	k := knowledge{seqs, notes}
	var batch []carrying
	var dead []uint64 // of batch
	bytes := 0
	give := func() error {
		some, ending := batch, dead
		batch, dead, bytes = nil, nil, 0
		err := j.inWriter(func() error { return j.writeCarried(s, some) })
		if !force || !errors.Is(err, ErrNoSpace) {
			return err
		}
		if len(ending) > 0 {
			return j.endDead(ending) // there is no room for so many, whatever was reckoned
		}
		if n, _ := j.live.Waits(); n > 0 {
			return j.opts.Thin(len(some))
		}
		return err
	}
	var unread []uint64
	for part := range slices.Chunk(seqs, carryChunk) {
		list, err := j.readCarried(s, part, k)
		if err != nil {
			return err
		}
		for _, c := range list {
			if weight := c.weight(); len(batch) > 0 && bytes+weight > carryBytes {
				if err := give(); err != nil {
					return err
				}
			}
			batch = append(batch, c)
			bytes += c.weight()
			if c.dead {
				dead = append(dead, c.seq)
			}
			if c.framed == nil {
				unread = append(unread, c.seq)
			}
		}
	}
	if len(unread) > 0 {
		j.opts.Logger.Error("events cannot be read and are carried as empty places", "segment", s.number, "count", len(unread), "seqs", event.Ranges(unread))
	}
	return give()
}

// drains reports whether so many of a segment's events only wait for their turn
// that it is better to wait, too, than to write them once more.
func (j *Journal) drains(s *segment, seqs []uint64) bool {
	n := 0
	for _, seq := range seqs {
		if pending, _ := j.live.Stands(seq); pending && j.standing(seq, false, knowledge{}).State == event.ToPush {
			n++
		}
	}
	one, _ := j.weighs(s)
	return int64(n)*one > s.Size/8
}

// carrying is an event on its way into the newest segment.
type carrying struct {
	newEvent
	note event.Note
}

func (c *carrying) weight() int { return format.EventWeight(c.framed) + format.NoteWeight(&c.note) }

// knowledge is what the notes say of some events.
type knowledge struct {
	seqs []uint64
	last []noteRef // the last note about each
}

// readCarried reads events that are to be carried, with where they stand, as far
// as that is on disk: how a dead letter died, when one was put back, and what was
// stored after each for its waybill. One that cannot be read is an empty place.
func (j *Journal) readCarried(s *segment, seqs []uint64, k knowledge) ([]carrying, error) {
	list, hash := make([]carrying, 0, len(seqs)), j.checkpoint.Hasher()
	bad, err := j.readEvents(seqs, func(seq uint64, body []byte) error {
		h, err := codec.PeekEvent(body)
		if err == nil {
			list = append(list, carrying{newEvent: newEvent{seq: seq, framed: append([]byte{codec.Version}, body...), waybill: scan.WaybillID(h.Waybill), hash: hash(h.Waybill)}})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read events to carry: %w", err)
	}
	waybills := make(map[uint64]scan.WaybillID, len(list))
	for i := range list {
		waybills[list[i].seq] = list[i].waybill
	}
	after, err := later.OfWaybills(j, waybills)
	if err != nil {
		return nil, err
	}
	for _, seq := range bad {
		if pending, dead := j.live.Stands(seq); j.find(seq) == s && (pending || dead) { // else it is gone
			list = append(list, carrying{newEvent: newEvent{seq: seq, hash: ^seq}})
		}
	}
	for i := range list {
		c := &list[i]
		t := after[c.seq]
		if c.framed == nil { // of an unknown waybill
			t = j.Copied(c.seq)
		}
		_, c.dead = j.live.Stands(c.seq)
		c.note = j.standing(c.seq, c.dead, k).Carried(t)
	}
	return list, nil
}

// standing is a record of an event that is pending or dead, with where it stands.
func (j *Journal) standing(seq uint64, dead bool, k knowledge) *event.Record {
	r := []event.Record{{ID: event.ID{Seq: seq}}}
	j.live.Describe(r)
	i, ok := slices.BinarySearch(k.seqs, seq)
	if !dead || !ok {
		return &r[0]
	}
	if n, err := j.noteAt(k.last[i]); err == nil {
		r[0].Apply(&n)
	}
	if r[0].FinishedAt.IsZero() { // the note cannot be read
		r[0].State, r[0].FinishedAt = event.Dead, j.opts.Now()
	}
	return &r[0]
}

// writeCarried commits events that are to be carried out of s, but for those that
// ended meanwhile, and those that died or were put back: what is known of their
// notes is old, and s is cleared once more. The writer calls it.
func (j *Journal) writeCarried(s *segment, list []carrying) error {
	b := j.NewBatch()
	b.moving = true
	for _, c := range list {
		pending, dead := j.live.Stands(c.seq)
		if j.find(c.seq) != s || !pending && !dead || dead != c.dead || j.stirred[c.seq] {
			continue
		}
		if !dead { // it may have been tried since
			c.note = j.standing(c.seq, false, knowledge{}).Carried(c.note.Later)
		}
		b.carried = append(b.carried, c.newEvent)
		b.bytes += format.EventWeight(c.framed)
		b.AddNote(c.note)
		if n, tried := j.live.Attempt(c.seq); tried && n.Delay > 0 {
			b.AddNote(n)
		}
	}
	if len(b.carried) == 0 {
		return nil
	}
	return j.writeAlone(b)
}

// unfinishedIn lists the events of s that are pending or dead, rising.
func (j *Journal) unfinishedIn(s *segment) []uint64 {
	seqs := slices.DeleteFunc(j.live.Unfinished(j.lastIn(s)), func(seq uint64) bool { return j.find(seq) != s })
	slices.Sort(seqs)
	return seqs
}

// thinDead ends the oldest dead letters, where all of them take more than so many
// bytes: nobody looked at them, and intake must go on.
func (j *Journal) thinDead(limit int64) error {
	over := j.deadBytes() - limit
	if over <= 0 {
		return nil
	}
	var oldest []uint64
	for _, seq := range j.live.Dead() {
		if over <= 0 {
			break
		}
		oldest = append(oldest, seq)
		if s := j.find(seq); s != nil {
			_, dead := j.weighs(s)
			over -= dead
		}
	}
	return j.endDead(oldest)
}

// endDead ends dead letters for want of room, in steps, and says so.
func (j *Journal) endDead(seqs []uint64) error {
	var ended []uint64
	for part := range slices.Chunk(seqs, 5*carryChunk) {
		err := j.inWriter(func() (err error) {
			part, err = j.discard(part)
			return err
		})
		if err != nil {
			return err
		}
		ended = append(ended, part...)
	}
	if len(ended) > 0 { // else somebody works on them
		j.opts.Logger.Error("there is no room for so many dead letters: the oldest are discarded", "reason", event.NoRoom, "count", len(ended), "seqs", event.Ranges(ended))
	}
	return nil
}

// discard ends dead letters for want of room, but for those that somebody works
// on. The writer calls it.
func (j *Journal) discard(seqs []uint64) (ended []uint64, err error) {
	b, now := j.NewBatch(), j.opts.Now()
	b.Inside = true
	var settled []event.Settlement
	for _, seq := range seqs {
		if !j.live.ClaimDead(seq) {
			continue
		}
		s := event.Settlement{Seq: seq, Outcome: event.Discarded, Last: event.Reply{Reason: event.NoRoom}}
		settled, ended = append(settled, s), append(ended, seq)
		b.AddNote(s.Note(now))
	}
	b.State.NoRoom += uint64(len(ended))
	if err := j.writeAlone(b); err != nil {
		j.live.UnclaimDead(ended)
		return nil, err
	}
	j.live.End(settled, nil) // dead letters have no share
	return ended, nil
}

// deadBytes is what dead letters take, about.
func (j *Journal) deadBytes() (n int64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for _, s := range j.segments {
		n += int64(s.totals.Outcome[event.Dead]) * s.weights.Dead()
	}
	return n
}

// weighs is what one of a segment's events takes, and one of its dead letters.
func (j *Journal) weighs(s *segment) (one, dead int64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return s.weights.Event(), s.weights.Dead()
}

// capacity is how much all segments may take, within max_size and what the disk
// has.
func (j *Journal) capacity() int64 { return min(j.opts.MaxSize, j.bytes()+durable.Free(j.dir)) }

// worthwhile reports whether carrying what is unfinished gives room: of a store
// that is full of what waits, as much would be written as comes free.
func (j *Journal) worthwhile(force bool) bool {
	dead, capacity := j.deadBytes(), j.capacity()
	waiting, _ := j.waitingBytes()
	others := j.pendingBytes() - waiting
	if force { // they are thinned before
		dead, waiting = min(dead, capacity/deadShare), min(waiting, capacity/deadShare)
	}
	return others+waiting+dead <= capacity/2
}

// pendingBytes is what takes is pending, about.
func (j *Journal) pendingBytes() (n int64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for _, s := range j.segments {
		n += int64(s.open-s.totals.Outcome[event.Dead]) * s.weights.Event()
	}
	return n
}

// waitingBytes is what of that waits for waybill data, and one such event.
func (j *Journal) waitingBytes() (all, one int64) {
	waiting, pending := j.live.Waits()
	one = max(1, j.pendingBytes()/max(1, int64(pending)))
	return one * int64(waiting), one
}

// thinWaiting has some of that end, where it takes more than its share.
func (j *Journal) thinWaiting() error {
	all, one := j.waitingBytes()
	if n := (all - j.capacity()/deadShare) / one; n > 0 {
		return j.opts.Thin(int(n))
	}
	return nil
}

// forgetLocked takes a segment out of the row, with what was carried into it.
func (j *Journal) forgetLocked(s *segment) {
	j.segments = slices.DeleteFunc(j.segments, func(x *segment) bool { return x == s })
	for _, seq := range s.arrived {
		if j.carried[seq].segment == s {
			delete(j.carried, seq)
		}
	}
}
