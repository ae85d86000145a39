package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"scanrelay/store/durable"
)

// Marks beside the segments, for the next start.
const (
	suspectName    = "suspect"      // names a segment of which a sync failed
	unreadableName = "unreadable"   // names segments in which damage was met
	cleanName      = "outbox.clean" // the last process closed everything; holds what waited for data
)

// MarkSuspect has the next start not write to the newest segment again, of which
// a sync failed.
func (j *Journal) MarkSuspect() error {
	return os.WriteFile(filepath.Join(j.dir, suspectName), []byte(j.newest().name()+"\n"), 0o600)
}

func (j *Journal) isSuspect(s *segment) (bool, error) {
	mark, err := os.ReadFile(filepath.Join(j.dir, suspectName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read mark: %w", err)
	}
	return err == nil && strings.TrimSpace(string(mark)) == s.name(), nil
}

// MarkClean says that everything was closed. It is the last thing of a process.
// waiting is what waits for data; it is forgotten where there is no room.
func (j *Journal) MarkClean(waiting []byte) error {
	path := filepath.Join(j.dir, cleanName)
	err := durable.Create(path, waiting)
	if durable.NoSpace(err) {
		err = durable.Create(path, nil)
	}
	return err
}

// takeCleanMark reports whether the last process closed everything, and takes the
// mark away that says so.
func (j *Journal) takeCleanMark() (clean bool, err error) {
	path := filepath.Join(j.dir, cleanName)
	err = j.readCleanMark()
	if !durable.Exists(path) && err == nil {
		return false, nil
	}
	if err = os.Remove(path); err == nil { // a mark that cannot be read is one, too
		err = durable.SyncDir(j.dir)
	}
	if err != nil {
		return false, fmt.Errorf("take mark away: %w", err)
	}
	return true, nil
}

func (j *Journal) readCleanMark() (err error) {
	j.waiting, err = os.ReadFile(filepath.Join(j.dir, cleanName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read mark: %w", err)
	}
	return nil
}

// MetDamage marks the segments of events that cannot be read: the next start
// reads these completely, and rebuilds them of what can be read. It returns what
// to say of it; "": nothing is new.
func (j *Journal) MetDamage(seqs []uint64) (what string, err error) {
	j.meeting.Lock()
	defer j.meeting.Unlock()
	known, err := j.unreadable()
	if err != nil {
		return "", err
	}
	var names []string
	for _, seq := range seqs {
		if s := j.find(seq); s != nil {
			names = append(names, s.name())
		}
	}
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(n string) bool { return slices.Contains(known, n) })
	if len(names) == 0 {
		return "", nil
	}
	all := strings.Join(append(known, names...), "\n") + "\n"
	if err := durable.Create(filepath.Join(j.dir, unreadableName), []byte(all)); err != nil && !durable.NoSpace(err) {
		return "", fmt.Errorf("mark damage: %w", err)
	}
	return strings.Join(names, ", ") + " holds events that cannot be read; a restart mends what can be mended", nil
}

// unreadable lists the files in which damage was met.
func (j *Journal) unreadable() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(j.dir, unreadableName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read mark of damage: %w", err)
	}
	return strings.Fields(string(b)), nil
}

// forgetUnreadable takes the mark away once what it names was looked at.
func (j *Journal) forgetUnreadable() error {
	err := os.Remove(filepath.Join(j.dir, unreadableName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take mark of damage away: %w", err)
	}
	return nil
}

// forgetDamage ends the alarm once a person has taken away all that was set
// aside, unless there is damage that no start has looked at.
func (j *Journal) forgetDamage() {
	aside, err := filepath.Glob(filepath.Join(j.dir, "*"+durable.AsideSuffix+"*"))
	if err == nil && len(aside) == 0 && !(j.readOnly && durable.Exists(filepath.Join(j.dir, unreadableName))) {
		j.state.Damage = ""
	}
}

func fileSize(path string) int64 {
	if info, err := os.Stat(path); err == nil {
		return info.Size()
	}
	return 0
}
