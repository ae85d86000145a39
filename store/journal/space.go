package journal

import (
	"errors"
	"fmt"

	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/format"
	"scanrelay/store/register"
)

// makeRoom sees to it that a batch fits into the newest segment and leaves enough
// for the outcomes of all that is unfinished then. For that spare segments are
// made, or begun, and finished segments make way. One that is Inside may take the
// last room. ErrNoSpace if there is none.
func (j *Journal) makeRoom(b *Batch) error {
	need := format.Growth(b.bytes)
	for {
		rest, spares, first := j.room()
		owed := j.owed(b, rest < need)
		switch {
		case rest >= need && max(0, rest-need-format.MaxNotes)+spares >= owed:
			return nil
		case rest < need && first >= need && spares-need >= owed:
			if b.rolled {
				return fmt.Errorf("%w: a commit of %d bytes fits into none", ErrNoSpace, b.bytes)
			}
			b.rolled = true
			if err := j.beginSpare(); err != nil {
				return err
			}
		case b.moving:
			if err := j.makeSpare(); err != nil {
				return err
			}
		default:
			if err := j.moreRoom(); err != nil {
				return err
			}
		}
	}
}

// Writable reports whether there is a segment that is written to, and nothing has to
// be written before something is leased. The writer calls it.
func (j *Journal) Writable() bool { return j.newest().DB() != nil && j.lost == nil }

// measure learns how much of the newest segment is used.
func (j *Journal) measure(s *segment) {
	tx, err := s.DB().Begin(false)
	if err != nil {
		return // the next commit says why
	}
	j.mu.Lock()
	s.usedBytes = tx.Size()
	j.mu.Unlock()
	_ = tx.Rollback() // ends a read; never fails
}

// owed is what has to be left once b is written: for the outcomes of all that is
// unfinished, and, if there is a sealed segment or one is to be sealed, for moving
// what is unfinished in it.
func (j *Journal) owed(b *Batch, seal bool) int64 {
	if b.Inside {
		return 0
	}
	n, move := int64(len(b.events))-int64(b.ends), int64(0)
	if (seal || j.oldest() != j.newest()) && !b.moving {
		move = format.SpareRoom(j.usualSize())
	}
	j.mu.RLock()
	defer j.mu.RUnlock()
	for _, s := range j.segments {
		n += int64(s.open)
	}
	return n*format.OutcomeReserve + format.ReaderReserve + move
}

// room is what is left in the newest segment, and what notes find in all the
// spare ones and in the first of them.
func (j *Journal) room() (rest, spares, first int64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	newest := j.segments[len(j.segments)-1]
	for i, size := range j.spares.Sizes() {
		spares += format.SpareRoom(size)
		if i == 0 {
			first = spares
		}
	}
	return format.RoomIn(newest.Size, newest.usedBytes), spares, first
}

// moreRoom makes a spare segment, or has finished ones make way for it.
func (j *Journal) moreRoom() error {
	err := j.makeSpare()
	if !errors.Is(err, ErrNoSpace) {
		return err
	}
	if dropErr := j.DropOldest(true); !errors.Is(dropErr, ErrNoSpace) {
		return dropErr
	}
	return err
}

// makeSpare makes a spare segment, as large as max_size and the disk allow.
func (j *Journal) makeSpare() error {
	size := j.nextSize()
	if size < format.MinSize {
		return fmt.Errorf("%w: max_size or the disk is used up", ErrNoSpace)
	}
	err := j.spares.Make(size)
	if noSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// usualSize is how large a segment is. On a small disk segments are small, so that
// they make way sooner.
func (j *Journal) usualSize() int64 {
	return min(j.opts.SegmentSize, max(format.MinSize, (j.bytes()+durable.Free(j.dir))/8))
}

// nextSize is how large the next one may be.
func (j *Journal) nextSize() int64 {
	size := min(j.usualSize(), register.Beside(j.opts.MaxSize-j.bytes()-j.pledged()), durable.Free(j.dir)-format.DiskMargin)
	return size &^ (boltpage.AllocSize - 1)
}

// bytes is what all segments take, with their registers, the spare ones and what
// the checkpoint's files do.
func (j *Journal) bytes() (n int64) {
	n, _ = j.checkpoint.Bytes()
	j.mu.RLock()
	defer j.mu.RUnlock()
	for _, s := range j.segments {
		n += s.Size + s.register.Bytes()
	}
	for _, size := range j.spares.Sizes() {
		n += size
	}
	return n
}

// pledged is what comes yet beside these: the checkpoint grows, and registers are written
// some time after their segments.
func (j *Journal) pledged() (n int64) {
	n = j.checkpoint.Reserve()
	j.mu.RLock()
	defer j.mu.RUnlock()
	newest := j.segments[len(j.segments)-1]
	for _, s := range j.segments {
		if due := s.register.Pending(); s == newest && s.register != nil {
			n += max(due, register.Room(s.Size))
		} else {
			n += due
		}
	}
	for _, size := range j.spares.Sizes() {
		n += register.Room(size)
	}
	return n
}

// full reports whether a commit failed because its segment took more than was
// reckoned, and says so of the segment.
func (j *Journal) full(s *segment, err error) bool {
	if !errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s.usedBytes = s.Size
	return true
}

// MakeRoom makes sure that a commit of so many bytes finds room. inside: of
// outcomes only, which may take the last one. ErrNoSpace if it cannot. The writer
// calls it.
func (j *Journal) MakeRoom(bytes int, inside bool) error {
	j.mendWaiting()
	if err := j.restore(); err != nil {
		return err
	}
	return j.makeRoom(&Batch{bytes: bytes, Inside: inside})
}

// Spare is how much can still be taken in, about, before a commit of so many bytes
// finds no room: in what is free, in what segments hold that is finished, and in
// what makes way for others. The writer calls it.
func (j *Journal) Spare(bytes int) int64 {
	capacity, usual := j.capacity(), j.usualSize()
	rest, spares, _ := j.room()
	room := rest + spares - j.owed(&Batch{}, true) - format.MaxNotes - format.Growth(bytes)
	left := capacity - j.bytes() - j.checkpoint.Reserve() // for new segments; registers that come yet are little beside a share
	watermark, worthwhile := j.live.Watermark(), j.worthwhile(true)
	for _, s := range j.list() {
		if s.last > watermark || s == j.newest() || s.open > 0 && !worthwhile {
			break
		}
		one, _ := j.weighs(s)
		left += max(0, s.Size-format.Growth(int(s.open)*int(one)))
	}
	if worthwhile {
		waiting, _ := j.waitingBytes()
		left += max(0, waiting-capacity/deadShare) + max(0, j.deadBytes()-capacity/deadShare)
	}
	for ; left >= format.MinSize; left -= usual {
		room += format.SpareRoom(min(left, usual))
	}
	return max(room, 0)
}
