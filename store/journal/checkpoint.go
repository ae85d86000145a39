package journal

import (
	"hash"
	"slices"
	"time"

	"scanrelay/store/boltpage"
	"scanrelay/store/checkpoint"
	"scanrelay/store/event"
)

// checkpointShare is the part of max_size that is kept for the checkpoint: an event takes
// a byte of it at most, a carried one twenty, and 150 of a segment.
const checkpointShare = 64

func (j *Journal) newKeeper() checkpoint.Keeper {
	return checkpoint.Keeper{
		Path: checkpoint.Path(j.dir), Logger: j.opts.Logger, Max: j.opts.MaxSize / checkpointShare,
		MAC:      func(purpose string) hash.Hash { return j.keys.MAC(purpose) },
		Believed: func() func(time.Time) bool { return j.clock().Believes },
	}
}

// sources are segments as an account reads them, and the last one that was dropped.
func (j *Journal) sources(all []*segment) (dropped uint64, list []checkpoint.Source) {
	for _, s := range all {
		list = append(list, checkpoint.Source{Number: s.number, First: s.first, Cipher: s.cipher, View: func(fn func(boltpage.Reader) error) error {
			if err := j.handles.View(&s.File, fn); err != nil {
				return &segmentError{s, err}
			}
			return nil
		}})
	}
	return all[0].number - 1, list
}

// keepSealed has the checkpoint go on to the end of the sealed segments.
func (j *Journal) keepSealed() {
	all := j.list()
	dropped, list := j.sources(all)
	j.checkpoint.GoOn(dropped, list[:len(list)-1])
}

// Checkpoint keeps what the segments come to, for the next start. The writer calls
// it once it has written the last.
func (j *Journal) Checkpoint() { j.checkpoint.GoOn(j.sources(j.list())) }

// VerifyCheckpoint says what is wrong with it, by a recount, for who only reads.
func (j *Journal) VerifyCheckpoint() string {
	if len(j.damage) > 0 { // what a checkpoint knows is lost
		return ""
	}
	dropped, list := j.sources(j.list())
	return j.checkpoint.Verify(j.account, dropped, list)
}

// restore writes how those events ended of which damage took the note, as a
// checkpoint knows it. The writer calls it.
func (j *Journal) restore() error {
	if j.lost == nil {
		return nil
	}
	n := 0
	for part := range j.lost {
		b := j.NewBatch()
		b.Inside = true
		notes, ended := checkpoint.Again(part, j.opts.Now())
		for _, note := range notes {
			b.AddNote(note)
		}
		if err := j.writeAlone(b); err != nil {
			return err
		}
		j.live.End(ended, j.live.Senders(ended))
		n += len(part)
	}
	if j.lost = nil; n > 0 {
		j.opts.Logger.Warn("damage took the notes of how events ended: the checkpoint knows it, and they are written again", "count", n)
	}
	return j.checkpoint.RemoveAside()
}

// foresee has a reader know what restore will write at the next start.
func (j *Journal) foresee() {
	j.foreseen = map[uint64]event.Note{}
	for part := range j.checkpoint.Known().Lost(j.account, carryChunk, j.live.Stands) {
		notes, ended := checkpoint.Again(part, j.opts.Now())
		j.mu.Lock()
		for i := range notes {
			j.countLocked(j.segments[len(j.segments)-1], &notes[i])
			j.foreseen[notes[i].Seq] = notes[i]
		}
		j.mu.Unlock()
		j.live.End(ended, nil)
	}
}

// untouched lists the sealed segments of which a checkpoint tells all; also those in
// which something is unfinished, and will be read, if asked for.
func (j *Journal) untouched(unfinished bool) []*segment {
	if j.account == nil {
		return nil
	}
	known := j.account.Sealed(unfinished)
	return slices.DeleteFunc(j.list(), func(s *segment) bool { return !known[s.number] })
}

// lookAside reads what a start left out, since a checkpoint told of it: the next one
// mends what is damaged. Nobody waits for it, so it rests for most of the time.
func (j *Journal) lookAside(list []*segment) {
	for _, s := range list {
		began := time.Now()
		bad := boltpage.CheckBranches(s.Path, true)
		if !boltpage.Damaged(bad) {
			_, alone := j.sources([]*segment{s})
			alone[0].Stop = j.stop
			bad = j.checkpoint.New().ReadAll(alone)
		}
		if boltpage.Damaged(bad) {
			_ = j.metDamage(s, bad) // logged
		}
		select {
		case <-j.stop:
			return
		case <-time.After(3 * time.Since(began)):
		}
	}
}
