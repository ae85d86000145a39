package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"scanrelay/agent/update/record"
	"scanrelay/store/durable"
)

// Launcher starts a version. All is needed.
type Launcher struct {
	Root     record.Root
	Own      record.Own
	Packaged string // version of this program, which is the package's
	Self     string // its path
	Now      func() record.Moment
	// Exec becomes a program; it returns only if that could not be.
	Exec func(path string, argv, env []string) error
	Tell func(state string) // systemd
	Log  *slog.Logger
}

// startPatience is what a start may take that is no trial: it may mend a store.
// watchdogOfTrial is how soon a candidate that hangs is ended.
const (
	startPatience   = 120 * time.Second
	watchdogOfTrial = 15 * time.Second
)

// EnvLaunched is the variable by which a version is told how it was started, as JSON of
// [Launched].
const EnvLaunched = "LAUNCHED_SCANRELAY"

// Launched is how a version was started.
type Launched struct {
	record.Run
	Root     record.Root `json:"root"`
	Own      record.Own  `json:"own"`
	Watchdog string      `json:"watchdog,omitempty"` // what systemd would have had without a trial
}

// FromEnv tells how this process was started; nil: not by launch.
func FromEnv(env []string) (*Launched, error) {
	text := lookup(env, EnvLaunched)
	if text == "" {
		return nil, nil
	}
	var l Launched
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return nil, fmt.Errorf("read %s: %w", EnvLaunched, err)
	}
	return &l, nil
}

func lookup(env []string, name string) string {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// Run starts the version that is to run, with these arguments. It returns only if
// nothing could be started.
func (l *Launcher) Run(args, env []string) error {
	rec, err := l.Root.Read()
	if err != nil {
		l.Log.Error("the record of the versions cannot be read; what `current` leads to counts as committed", "error", err)
	}
	if err := l.Own.Make(); err != nil {
		l.Log.Error("the folder of updates cannot be made", "error", err)
	}
	st, err := l.Own.State()
	if err != nil {
		l.Log.Error("the state of updates cannot be read: no trial is on", "error", err)
	}
	l.mend(rec)
	now := l.Now()
	st = ended(st, l.Packaged, now)
	st.Problem = ""
	not := unusable{}
	for {
		next, c := Choose(rec, st, l.Packaged, now, not)
		next.Running = &record.Run{Release: c.Release, Role: c.Role, Packaged: l.Packaged, Began: now}
		if err := l.Own.SetState(next); err != nil {
			l.Log.Error("the state of updates cannot be written", "error", err)
			if c.Role == record.RoleTrial {
				not[c.Release.SHA256] = failure{"its tries cannot be counted: " + err.Error(), true}
				continue
			}
		}
		st = next
		bad := l.start(c, *next.Running, args, env)
		l.Log.Error("a version cannot be started", "version", l.name(c.Release), "error", bad)
		if c.Release.IsPackaged() {
			return fmt.Errorf("start the packaged version: %w", bad)
		}
		not[c.Release.SHA256] = failure{bad.Error(), !errors.Is(bad, unix.ENOEXEC)}
		st.Problem = l.name(c.Release) + ": " + bad.Error()
	}
}

// mend asks root to put the link right by which people find the program.
func (l *Launcher) mend(rec record.Record) {
	to := rec.Committed.Version
	if record.Newer(l.Packaged, to) || to == "" {
		to = record.PackagedFolder
	}
	if l.Root.Linked() == to || l.Own.Asked() {
		return
	}
	if _, err := l.Own.Ask(record.OpMend, record.Release{}); err != nil {
		l.Log.Error("nobody mends the link to the committed version", "error", err)
	}
}

func (l *Launcher) name(r record.Release) string {
	if r.IsPackaged() {
		return l.Packaged + " (packaged)"
	}
	return r.Version
}

// start becomes a version, if its binary is the one that was verified.
func (l *Launcher) start(c Choice, run record.Run, args, env []string) error {
	path := l.Self
	if !c.Release.IsPackaged() {
		path = l.Root.Binary(c.Release)
		if err := Verify(path, c.Release); err != nil {
			return err
		}
	}
	launched := Launched{Run: run, Root: l.Root, Own: l.Own}
	env = slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.HasPrefix(e, EnvLaunched+"=") })
	if c.Role == record.RoleTrial {
		if launched.Watchdog = lookup(env, "WATCHDOG_USEC"); launched.Watchdog != "" {
			usec := strconv.FormatInt(watchdogOfTrial.Microseconds(), 10)
			env = append(slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, "WATCHDOG_USEC=") }), "WATCHDOG_USEC="+usec)
			l.Tell("WATCHDOG_USEC=" + usec)
		}
	} else {
		l.Tell("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(startPatience.Microseconds(), 10))
	}
	text, err := json.Marshal(launched)
	if err != nil {
		return err
	}
	err = l.Exec(path, append([]string{record.Program}, args...), append(env, EnvLaunched+"="+string(text)))
	if errors.Is(err, syscall.EACCES) && NoExec(string(l.Root)) {
		err = fmt.Errorf("%w: the file system of %s is mounted noexec", err, l.Root)
	}
	return err
}

// NoExec reports whether nothing on a folder's file system may be executed.
func NoExec(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Flags&unix.ST_NOEXEC != 0
}

// Verify tells why a file is not the release that it should be.
func Verify(path string, want record.Release) error {
	f, err := durable.OpenFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size != want.Length {
		return fmt.Errorf("%s has %d bytes, not %d: %w", want.Version, size, want.Length, durable.ErrDamaged)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil {
		return fmt.Errorf("read %s: %w", want.Version, err)
	}
	if hex.EncodeToString(h.Sum(nil)) != want.SHA256 {
		return fmt.Errorf("%s has another digest than was verified: %w", want.Version, durable.ErrDamaged)
	}
	return nil
}

// Exec is syscall.Exec, which tells which file it was.
func Exec(path string, argv, env []string) error {
	if err := syscall.Exec(path, argv, env); err != nil {
		return &os.PathError{Op: "execute", Path: path, Err: err}
	}
	return nil
}
