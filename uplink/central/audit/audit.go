package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"scanrelay/agent/scan"
	"scanrelay/store/durable"
)

// Name is the file's, in data_dir; older ones end in .1 (the newest of them) to .4.
const Name = "audit.log"

const (
	maxSize = 8 << 20
	older   = 4
	maxText = 200 // characters of a text that somebody sent
)

// Entry is one thing that was done, or refused.
type Entry struct {
	Version int       `json:"v"`
	Time    time.Time `json:"time"`
	Who     string    `json:"who"`             // an operator's name, depot/<id>, or socket uid <n>
	From    string    `json:"from,omitempty"`  // client address
	Action  string    `json:"action"`          // as depot.revoke
	Depot   string    `json:"depot,omitempty"` // which it was done to
	Result  string    `json:"result"`          // ok, refused, failed
	Detail  string    `json:"detail,omitempty"`
}

// Results of an entry.
const (
	OK      = "ok"
	Refused = "refused"
	Failed  = "failed"
)

// Log is the file. A nil one keeps nothing.
type Log struct {
	dir string
	now func() time.Time

	queue   sync.Mutex
	waiting []*added // guarded by queue

	mu   sync.Mutex // held by who writes
	f    *os.File   // nil: not opened yet; guarded by mu
	size int64      // guarded by mu
	sync func(*os.File) error
}

// added is a line that is to be written.
type added struct {
	line []byte
	done bool // guarded by Log.mu, as err is
	err  error
}

// Open is the log in dir, which is opened when there is something to add: a centre
// starts on a disk that cannot be written.
func Open(dir string, now func() time.Time) *Log {
	return &Log{dir: dir, now: now, sync: (*os.File).Sync}
}

// open goes on with the file. What a power cut left of a last line is cut off.
func (l *Log) open() error {
	path := filepath.Join(l.dir, Name)
	data, err := durable.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.size = int64(bytes.LastIndexByte(data, '\n') + 1)
	f, err := durable.Open(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = f.Truncate(l.size); err == nil {
		err = durable.SyncDir(l.dir)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f = f
	return nil
}

// Add writes an entry; version and time are set. Those who wait while the disk is busy
// are written and synced together.
func (l *Log) Add(e Entry) error {
	if l == nil {
		return nil
	}
	e.Version, e.Time = 1, l.now().UTC()
	e.Detail, e.Depot = plain(e.Detail), plain(e.Depot)
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write %s: %w", Name, err)
	}
	a := &added{line: append(line, '\n')}
	l.queue.Lock()
	l.waiting = append(l.waiting, a)
	l.queue.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !a.done {
		l.writeWaiting()
	}
	return a.err
}

func (l *Log) writeWaiting() {
	l.queue.Lock()
	all := l.waiting
	l.waiting = nil
	l.queue.Unlock()
	var lines []byte
	for _, a := range all {
		lines = append(lines, a.line...)
	}
	err := l.write(lines)
	for _, a := range all {
		a.done, a.err = true, err
	}
}

func (l *Log) write(lines []byte) error {
	if l.f == nil {
		if err := l.open(); err != nil {
			return fmt.Errorf("open %s: %w", Name, err)
		}
	}
	if l.size >= maxSize {
		if err := l.rotate(); err != nil {
			return fmt.Errorf("begin a new %s: %w", Name, err)
		}
	}
	n, err := l.f.WriteAt(lines, l.size)
	if err == nil {
		err = l.sync(l.f)
	}
	if err != nil { // the next lines take the place of what came of these
		return fmt.Errorf("write %s: %w", Name, err)
	}
	l.size += int64(n)
	return nil
}

// plain makes a text that somebody sent fit for the log.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if r := []rune(s); len(r) > maxText {
		s = string(r[:maxText]) + "…"
	}
	return scan.MaskDigitRuns(s)
}

func (l *Log) name(i int) string {
	path := filepath.Join(l.dir, Name)
	if i > 0 {
		path += "." + strconv.Itoa(i)
	}
	return path
}

// rotate makes the file .1 and begins another.
func (l *Log) rotate() error {
	err := l.f.Close()
	if l.f = nil; err != nil {
		return err
	}
	for i := older; i > 0; i-- {
		if err := os.Rename(l.name(i-1), l.name(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return l.open()
}

// Since calls each for the entries from that time on, oldest first.
func (l *Log) Since(from time.Time, each func(line json.RawMessage) error) error {
	if l == nil {
		return nil
	}
	files, err := l.openAll()
	for _, f := range slices.Backward(files) {
		if err == nil {
			err = read(f.File, from, each)
		}
		_ = f.Close() // it was only read
	}
	return err
}

func read(f *durable.File, from time.Time, each func(json.RawMessage) error) error {
	data, err := f.ReadAll() // of maxSize and what is written at once
	if err != nil {
		return fmt.Errorf("read %s: %w", Name, err)
	}
	for line := range bytes.Lines(data) {
		var e Entry
		if json.Unmarshal(line, &e) != nil || e.Time.Before(from) {
			continue // damaged, or being written
		}
		if err := each(bytes.Clone(bytes.TrimSpace(line))); err != nil {
			return err
		}
	}
	return nil
}

// Names are those of all its files, the newest first.
func Names() (names []string) {
	for i := range older + 1 {
		names = append(names, (&Log{}).name(i))
	}
	return names
}

// Files gives each file to copy, by its name, the newest first.
func (l *Log) Files(copy func(name string, r io.Reader) error) error {
	if l == nil {
		return nil
	}
	files, err := l.openAll()
	for _, f := range files {
		if err == nil {
			err = copy(f.name, io.NewSectionReader(f, 0, math.MaxInt64))
		}
		_ = f.Close() // it was only read
	}
	return err
}

// file is one of the log's, open.
type file struct {
	*durable.File
	name string
}

// openAll opens all files, the newest first. None is renamed before all are open: one
// that is renamed meanwhile would be missed, or met twice.
func (l *Log) openAll() (files []file, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range older + 1 {
		switch f, err := durable.OpenFile(l.name(i)); {
		case err == nil:
			files = append(files, file{f, filepath.Base(l.name(i))})
		case !errors.Is(err, fs.ErrNotExist):
			return files, fmt.Errorf("open %s: %w", Name, err)
		}
	}
	return files, nil
}

// Close closes the file.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}
