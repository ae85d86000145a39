package marks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"scanrelay/store/codec"
	"scanrelay/store/durable"
)

// name is the file that tells the next start how this process left the
// folder.
const name = "outbox.state"

// Marks are what it says. Where there is none the last process did not close the
// folder, and nothing more is known.
type Marks struct {
	Clean      bool     // everything was closed
	Suspect    string   // names a segment of which a sync failed
	Unreadable []string // names segments in which damage was met
	Waiting    []byte   // what waited for waybill data at a clean stop
	Newest     uint64   // number of the segment that was written to last; 0: not known
	Base       []byte   // totals of the segments that were unlinked, as its state has them
}

var keyMarks = []byte("marks")

func (m *Marks) encode() []byte {
	e := codec.NewEncoder(64 + len(m.Waiting))
	clean := byte(0)
	if m.Clean {
		clean = 1
	}
	e.Byte(clean)
	e.Text(m.Suspect)
	e.Text(strings.Join(m.Unreadable, "\n"))
	e.Text(string(m.Waiting))
	e.Uint(m.Newest)
	e.Text(string(m.Base))
	return e.Frame(keyMarks)
}

// File is that file, which whoever writes to the folder keeps. Its methods may be
// called from any goroutine.
type File struct {
	dir string
	mu  sync.Mutex // held while the file is written
	m   Marks
}

// Open reads the marks in dir. ErrDamaged: nothing of them is believed, and there are
// none.
func Open(dir string) (*File, error) {
	m, err := load(dir)
	if err != nil {
		return &File{dir: dir}, fmt.Errorf("read %s: %w", name, err)
	}
	return &File{dir: dir, m: m}, nil
}

func load(dir string) (Marks, error) {
	b, err := durable.ReadFile(filepath.Join(dir, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return oldMarks(dir)
	case err == nil:
		return decode(b)
	case !errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w: %w", durable.ErrDamaged, err)
	}
	return Marks{}, err
}

// Now returns what the marks say.
func (f *File) Now() Marks {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.m
}

// change writes what changed.
func (f *File) change(how func(*Marks) (changed bool)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !how(&f.m) {
		return nil
	}
	return f.m.store(f.dir)
}

// Take says from now on that this process did not close the folder. newest is the
// segment that is written to, base what was unlinked.
func (f *File) Take(newest uint64, base []byte) error {
	err := f.change(func(m *Marks) bool {
		m.Clean, m.Waiting, m.Newest, m.Base = false, nil, newest, base
		return true
	})
	if err != nil {
		return err
	}
	return keepOld(f.dir)
}

// Close says that everything was closed. It is the last thing of a process.
func (f *File) Close(waiting []byte) error {
	return f.change(func(m *Marks) bool {
		m.Clean, m.Waiting = true, waiting
		return true
	})
}

// Begun says that a segment was begun, which is on disk. Where there is no room to say
// so what was said before stays.
func (f *File) Begun(segment uint64) error {
	return f.add(func(m *Marks) { m.Newest, m.Suspect = segment, "" }) // one of which a sync failed is sealed
}

// Unlinking says what all segments come to that are unlinked now, or were. Without room
// to say so it is said with what comes next.
func (f *File) Unlinking(base []byte) error { return f.add(func(m *Marks) { m.Base = base }) }

// add says something more, which may be left out where there is no room for it.
func (f *File) add(what func(*Marks)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	what(&f.m)
	if err := f.m.write(f.dir); !durable.NoSpace(err) {
		return err
	}
	return nil
}

// Suspect has the next start not write to a segment again, of which a sync failed.
func (f *File) Suspect(segment string) error {
	return f.change(func(m *Marks) bool {
		changed := m.Suspect != segment
		m.Suspect = segment
		return changed
	})
}

// Unreadable has the next start look at segments, and returns those that it did not
// have to look at anyway.
func (f *File) Unreadable(segments ...string) (news []string, err error) {
	err = f.change(func(m *Marks) bool {
		news = slices.DeleteFunc(slices.Compact(segments), func(s string) bool { return slices.Contains(m.Unreadable, s) })
		m.Unreadable = slices.Concat(m.Unreadable, news)
		return len(news) > 0
	})
	return news, err
}

// Looked says that segments were looked at.
func (f *File) Looked() error {
	return f.change(func(m *Marks) bool {
		changed := len(m.Unreadable) > 0
		m.Unreadable = nil
		return changed
	})
}

func decode(b []byte) (m Marks, err error) {
	d, err := codec.Decode(keyMarks, b)
	if err != nil {
		return m, err
	}
	m.Clean, m.Suspect, m.Unreadable, m.Waiting = d.Byte() == 1, d.Text(), strings.Fields(d.Text()), []byte(d.Text())
	if d.More() { // once it did not say so
		m.Newest = d.Uint()
	}
	if d.More() { // nor this
		m.Base = []byte(d.Text())
	}
	return m, d.Done()
}

// store writes the marks. Where there is no room for them there are none, and the
// next start looks at more than it had to.
func (m *Marks) store(dir string) error {
	err := m.write(dir)
	if durable.NoSpace(err) {
		if err = os.Remove(filepath.Join(dir, name)); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = durable.SyncDir(dir)
		}
	}
	return err
}

func (m *Marks) write(dir string) error {
	if err := durable.Create(filepath.Join(dir, name), m.encode()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Files that said so before there was one for all of it.
const (
	oldClean      = "outbox.clean"
	oldSuspect    = "suspect"
	oldUnreadable = "unreadable"
	oldSuffix     = ".old" // they are kept under
)

func oldMarks(dir string) (Marks, error) {
	read := func(name string) (b []byte, there bool, err error) {
		b, err = durable.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, false, nil
		}
		return b, err == nil, err
	}
	suspect, _, err1 := read(oldSuspect)
	unreadable, _, err2 := read(oldUnreadable)
	waiting, clean, err3 := read(oldClean)
	if err := errors.Join(err1, err2, err3); err != nil {
		return Marks{}, fmt.Errorf("read mark: %w", err)
	}
	return Marks{Clean: clean, Suspect: strings.TrimSpace(string(suspect)), Unreadable: strings.Fields(string(unreadable)), Waiting: waiting}, nil
}

// keepOld puts those files aside, once store has written what they said.
func keepOld(dir string) error {
	for _, name := range []string{oldClean, oldSuspect, oldUnreadable} {
		path := filepath.Join(dir, name)
		if err := os.Rename(path, path+oldSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep old mark: %w", err)
		}
	}
	return nil // should a name come back, there is a newer file for all of it
}
