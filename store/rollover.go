package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
)

// roll seals the newest segment and begins another. Intake must leave room for
// one more segment, within max_size and on the file system, so that outcomes
// never lack it: what is stored can always be finished. Finished segments make
// way first. errNoSpace if there is no room.
func (o *Outbox) roll(intake bool) error {
	for {
		size := o.roomFor(intake)
		err := fmt.Errorf("%w: max_size or the disk is used up", errNoSpace)
		if size > 0 {
			err = o.begins(size)
		}
		if !errors.Is(err, errNoSpace) {
			return err
		}
		if dropErr := o.dropOldest(true); errors.Is(dropErr, errNoSpace) {
			return err
		} else if dropErr != nil {
			return dropErr
		}
	}
}

// roomFor returns how large the next segment may be; 0: there is no room.
func (o *Outbox) roomFor(intake bool) int64 {
	size, spare := o.opts.segmentSize, int64(0)
	if intake {
		spare = size
	}
	if o.journal.bytes()+size+spare > o.opts.MaxSize {
		return 0
	}
	free := freeBytes(o.dir)
	for intake && size >= minSegmentSize && 2*size > free {
		size /= 2
	}
	if size < minSegmentSize {
		return 0
	}
	return size &^ (boltpage.AllocSize - 1)
}

// freeBytes is what the file system has left; where it does not tell, plenty.
func freeBytes(dir string) int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 1 << 62
	}
	return int64(fs.Bavail) * int64(fs.Bsize)
}

// begins makes the next segment and switches to it.
func (o *Outbox) begins(size int64) error {
	newest := o.journal.newest()
	st := o.currentState()
	s := &segment{number: newest.number + 1, format: codec.Version, first: st.nextSeq, last: st.nextSeq - 1, begun: o.opts.Now()}
	s.path = filepath.Join(o.dir, segmentName(s.number))
	var err error
	if s.cipher, err = o.journal.keys.Add(s.number); durable.NoSpace(err) {
		return fmt.Errorf("%w: %w", errNoSpace, err)
	} else if err != nil {
		return err
	}
	m := codec.FileMeta{Format: codec.Version, Number: s.number, First: s.first, Size: size, Begun: s.begun}
	if s.size, err = createSegment(o.dir, m, st); isNoSpace(err) {
		return fmt.Errorf("%w: %w", errNoSpace, err)
	} else if err != nil {
		return err
	}
	if s.db, err = boltpage.OpenDB(s.path, s.size, false); err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	s.register = newRegister(registerPath(s.path), s.cipher, 0)
	if !newest.sealed {
		o.journal.sealNewest()
	}
	o.journal.append(s)
	o.background.Go(func() { o.completeRegister(newest) })
	if err := os.Remove(filepath.Join(o.dir, suspectName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove mark: %w", err)
	}
	o.opts.Logger.Info("segment begun", "segment", s.number, "first", s.first, "bytes", s.size)
	return nil
}

// currentState is what a state written now says.
func (o *Outbox) currentState() *state {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := o.state.clone()
	st.watermark = o.index.watermark
	return st
}

// becomeFull makes intake wait.
func (o *Outbox) becomeFull() {
	o.nextRoom = time.Now().Add(fullRetry)
	if o.room.setFull(true) {
		o.opts.Logger.Warn("outbox is full: scans are not acknowledged until there is room", "bytes", o.journal.bytes(), "max", o.opts.MaxSize)
	}
}

// lacksRoom reports whether intake or even outcomes wait for room.
func (o *Outbox) lacksRoom() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stuck || !o.room.open()
}

func (o *Outbox) setStuck(stuck bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stuck = stuck
}

// findRoom ends being full, if it can.
func (o *Outbox) findRoom() {
	newest := o.journal.newest()
	o.mu.Lock()
	used := newest.usedBytes
	o.mu.Unlock()
	probe := group{events: make([]stagedEvent, 1), bytes: maxOpWeight}
	if !probe.fits(newest, used) {
		if err := o.roll(true); err != nil {
			o.noRoom(err)
			return
		}
	}
	o.setStuck(false)
	if o.room.setFull(false) {
		o.opts.Logger.Info("outbox has room again", "bytes", o.journal.bytes())
	}
}

// noRoom handles that even looking for room failed.
func (o *Outbox) noRoom(err error) {
	if !errors.Is(err, errNoSpace) {
		o.fail(err)
		return
	}
	if err := o.outcomeRoom(); err == nil {
		o.setStuck(false)
	}
}

// outcomeRoom makes sure that outcomes can be written.
func (o *Outbox) outcomeRoom() error {
	newest := o.journal.newest()
	o.mu.Lock()
	used := newest.usedBytes
	o.mu.Unlock()
	probe := group{bytes: boltpage.AllocSize}
	if probe.fits(newest, used) {
		return nil
	}
	return o.roll(false)
}
