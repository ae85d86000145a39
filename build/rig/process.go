package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Role is a program with its arguments that can be started again and again;
// what all its lives print goes to one log.
type Role struct {
	Name   string
	Stderr *os.File // in place of the log; nil: the log
	t      T
	argv   []string
	env    []string
	log    string
	hold   string // a file while which is there a role that can be disturbed does not begin
	life   *life  // of the latest start; nil before the first
}

// life is one process.
type life struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; valid once done is closed
}

// NewRole makes a role; nothing runs yet. At the end of the test it is killed,
// and its log is shown if the test failed.
func NewRole(t T, name string, argv []string, env ...string) *Role {
	t.Helper()
	r := &Role{Name: name, t: t, argv: argv, env: env, log: filepath.Join(t.TempDir(), name+".log")}
	t.Cleanup(func() {
		if r.running() {
			r.Kill()
		}
		if t.Failed() {
			t.Logf("---- log of %s\n%s", name, tail(r.Log(), 60))
		}
	})
	return r
}

// tail returns the last n lines of a text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) <= n {
		return text
	}
	return fmt.Sprintf("(%d lines before)\n%s", len(lines)-n, strings.Join(lines[len(lines)-n:], "\n"))
}

// Start starts it; it must not be running.
func (r *Role) Start() {
	r.t.Helper()
	if r.running() {
		r.t.Fatalf("%s runs already", r.Name)
	}
	out, err := os.OpenFile(r.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatalf("open log of %s: %v", r.Name, err)
	}
	defer out.Close() // the child has its own copy
	cmd := exec.Command(r.argv[0], r.argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	if r.Stderr != nil {
		cmd.Stderr = r.Stderr
	}
	cmd.Env = append(os.Environ(), r.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		r.t.Fatalf("start %s: %v", r.Name, err)
	}
	l := &life{cmd: cmd, done: make(chan struct{})}
	go func() {
		l.err = cmd.Wait()
		close(l.done)
	}()
	r.life = l
}

// running reports whether it was started and has not ended.
func (r *Role) running() bool {
	if r.life == nil {
		return false
	}
	select {
	case <-r.life.done:
		return false
	default:
		return true
	}
}

// PID returns the process id of the latest start.
func (r *Role) PID() int { return r.life.cmd.Process.Pid }

// Kill ends it by SIGKILL, with whatever it started, and waits until it is gone.
func (r *Role) Kill() {
	r.t.Helper()
	r.Signal(syscall.SIGKILL)
	r.ExitCode()
}

// Stop asks it by SIGTERM to end, which it must do with exit code 0, and returns
// how long it took.
func (r *Role) Stop() time.Duration {
	r.t.Helper()
	begin := time.Now()
	r.Signal(syscall.SIGTERM)
	if code := r.ExitCode(); code != 0 {
		r.t.Errorf("%s ended by SIGTERM with exit code %d, want 0", r.Name, code)
	}
	return time.Since(begin)
}

// Signal sends it a signal. SIGSTOP stops it in its tracks: it holds its ports and
// answers nobody until SIGCONT.
func (r *Role) Signal(s syscall.Signal) {
	r.t.Helper()
	if !r.running() {
		r.t.Fatalf("%s is not running (it ended: %v)", r.Name, r.ended())
	}
	if err := syscall.Kill(-r.PID(), s); err != nil && !errors.Is(err, syscall.ESRCH) {
		r.t.Fatalf("send %v to %s: %v", s, r.Name, err)
	}
}

// ended returns how the latest process ended.
func (r *Role) ended() error {
	if r.life == nil {
		return errors.New("never started")
	}
	return r.life.err
}

// ExitCode waits for it to end and returns its exit code.
func (r *Role) ExitCode() int {
	r.t.Helper()
	select {
	case <-r.life.done:
		return r.life.cmd.ProcessState.ExitCode()
	case <-time.After(Limit):
		r.t.Fatalf("%s did not end within %v; what it does:\n%s", r.Name, Limit, r.goroutines())
		return -1
	}
}

// goroutines makes a process that hangs print what its goroutines do, which ends
// it.
func (r *Role) goroutines() string {
	before := len(r.Log())
	if err := syscall.Kill(r.PID(), syscall.SIGQUIT); err != nil {
		return err.Error()
	}
	select {
	case <-r.life.done:
	case <-time.After(time.Minute):
	}
	return r.Log()[before:]
}

// Log returns what it has printed so far, over all its lives.
func (r *Role) Log() string {
	text, err := os.ReadFile(r.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Errorf("read log of %s: %v", r.Name, err)
	}
	return string(text)
}
