package rig

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Disturb has the kernel answer a role's system calls as strace is told to
// (inject=pread64:error=EIO), those that touch one of the paths, or, with none,
// all. Of one that runs it spoils those that come, else it starts it and spoils
// them from the first one on. It needs no rights, and lasts until end is called.
func (r *Role) Disturb(inject string, paths ...string) (end func()) {
	r.t.Helper()
	starts := !r.running()
	if starts {
		if err := os.WriteFile(r.hold, nil, 0o600); err != nil {
			r.t.Fatalf("hold %s: %v", r.Name, err)
		}
		r.Start()
	}
	call, _, _ := strings.Cut(strings.TrimPrefix(inject, "inject="), ":")
	args := []string{"-f", "-s", "0", "-o", "/dev/null", "-e", "trace=" + call, "-e", "signal=none", "-e", inject, "-p", strconv.Itoa(r.PID())}
	for _, p := range paths {
		args = append(args, "-P", p)
	}
	said, err := os.Create(filepath.Join(r.t.TempDir(), "strace"))
	if err != nil {
		r.t.Fatalf("disturb %s: %v", r.Name, err)
	}
	defer said.Close() // strace has its own copy
	cmd := exec.Command("strace", args...)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		r.t.Fatalf("disturb %s (make setup installs strace): %v", r.Name, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ends is how the role or end ended it
		close(done)
	}()
	signal := syscall.SIGTERM
	if strings.Contains(inject, ":delay_") {
		signal = syscall.SIGKILL // it lets nobody go before a delay is over; a call that fails it must end
	}
	end = func() {
		_ = cmd.Process.Signal(signal) // it may be gone, with the role
		<-done
	}
	r.t.Cleanup(end)
	Await(r.t, "strace to hold "+r.Name, func() (bool, string) {
		text, err := os.ReadFile(said.Name())
		select {
		case <-done:
			r.t.Fatalf("disturb %s: strace ended: %s", r.Name, text)
		default:
		}
		return bytes.Contains(text, []byte("attached")), fmt.Sprintf("%s %v", text, err)
	})
	if starts {
		if err := os.Remove(r.hold); err != nil {
			r.t.Fatalf("let %s go: %v", r.Name, err)
		}
	}
	return end
}

// become, as its first argument, has a test be the program in its later ones, as
// soon as the file in its second is gone.
const become = "become-disturbable"

// disturbable makes a role one that strace may hold: a kernel may let nobody but
// a parent trace a process (Yama), unless that asked for it.
func (r *Role) disturbable() {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatalf("find this test: %v", err)
	}
	r.hold = r.log + ".hold"
	r.argv = append([]string{self, become, r.hold}, r.argv...)
}

func init() { // on the first thread
	if len(os.Args) < 4 || os.Args[1] != become {
		return
	}
	_ = unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0) // without Yama there is nothing to ask
	for err := error(nil); err == nil; time.Sleep(time.Millisecond) {
		_, err = os.Stat(os.Args[2])
	}
	err := unix.Exec(os.Args[3], os.Args[3:], os.Environ())
	fmt.Fprintln(os.Stderr, "become", os.Args[3:], err)
	os.Exit(1)
}
