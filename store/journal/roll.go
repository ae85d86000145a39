package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/format"
	"scanrelay/store/register"
)

// roll seals the newest segment and begins another. Intake must leave room for
// one more segment, within max_size and on the file system, so that outcomes
// never lack it: what is stored can always be finished. Finished segments make
// way first. ErrNoSpace if there is no room.
func (j *Journal) roll(intake bool) error {
	for {
		size := j.roomFor(intake)
		err := fmt.Errorf("%w: max_size or the disk is used up", ErrNoSpace)
		if size > 0 {
			err = j.beginSegment(size)
		}
		if !errors.Is(err, ErrNoSpace) {
			return err
		}
		if dropErr := j.DropOldest(true); errors.Is(dropErr, ErrNoSpace) {
			return err
		} else if dropErr != nil {
			return dropErr
		}
	}
}

// roomFor returns how large the next segment may be, in bytes; 0: there is no
// room.
func (j *Journal) roomFor(intake bool) int64 {
	size, spare := j.opts.SegmentSize, int64(0)
	if intake {
		spare = size
	}
	if j.Bytes()+size+spare > j.opts.MaxSize {
		return 0
	}
	free := freeBytes(j.dir)
	for intake && size >= format.MinSize && 2*size > free {
		size /= 2
	}
	if size < format.MinSize {
		return 0
	}
	return size &^ (boltpage.AllocSize - 1)
}

// Bytes is what all segments take, with their registers.
func (j *Journal) Bytes() (n int64) {
	for _, s := range j.list() {
		n += s.size + s.register.Bytes()
	}
	return n
}

// freeBytes is what the file system has left; where it does not tell, plenty.
func freeBytes(dir string) int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 1 << 62
	}
	return int64(fs.Bavail) * int64(fs.Bsize)
}

// beginSegment makes the next segment and switches to it.
func (j *Journal) beginSegment(size int64) (err error) {
	newest := j.newest()
	st := j.State()
	s := j.segmentAt(newest.number + 1)
	s.format, s.first, s.last, s.begun = codec.Version, st.NextSeq, st.NextSeq-1, j.opts.Now()
	if s.cipher, err = j.keys.Add(s.number); err == nil {
		m := codec.FileMeta{Format: s.format, Number: s.number, First: s.first, Size: size, Begun: s.begun}
		s.size, err = format.Create(j.dir, m, st)
	}
	if noSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if err != nil {
		return err
	}
	if s.db, err = boltpage.OpenDB(s.path, s.size, false); err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	s.sealed = false
	s.register = newRegister(s, 0)
	j.handles.seal(newest)
	j.append(s)
	j.background.Go(func() { j.completeRegister(newest) })
	if err := os.Remove(filepath.Join(j.dir, suspectName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove mark: %w", err)
	}
	j.opts.Logger.Info("segment begun", "segment", s.number, "first", s.first, "bytes", s.size)
	return nil
}

func newRegister(s *segment, end uint64) *register.Register {
	return register.New(format.RegisterPath(s.path), s.cipher.MAC(register.Purpose), end)
}

// MakeRoom makes sure that a commit of so many bytes finds room, of intake or of
// outcomes only. ErrNoSpace if it cannot. The writer calls it.
func (j *Journal) MakeRoom(bytes int, intake bool) error {
	newest := j.newest()
	j.mu.RLock()
	used := newest.usedBytes
	j.mu.RUnlock()
	if newest.fits(used, bytes, intake) {
		return nil
	}
	return j.roll(intake)
}

// SegmentBytes is the size that the file system gives to a segment at present.
func (j *Journal) SegmentBytes() int64 { return j.newest().size }
