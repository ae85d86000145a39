package store

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
)

var faultRuns = flag.Int("faults.runs", 40, "runs with a failing system call")

// faultCalls are the calls by which the outbox changes its files, and how they
// fail.
var faultCalls = []struct {
	call   string
	errors []string
	upTo   int    // about how often a thread makes it in powerRun
	file   string // only with this one; "": with all
}{
	{"pwrite64", []string{"EIO", "ENOSPC", "EROFS", "EDQUOT"}, 500, ""},
	{"fdatasync", []string{"EIO", "ENOSPC"}, 250, ""},
	{"fsync", []string{"EIO", "ENOSPC"}, 40, ""},
	{"write", []string{"EIO", "ENOSPC", "EROFS"}, 4, keyFile + durable.TempSuffix},
	{"ftruncate", []string{"EIO", "ENOSPC", "EROFS"}, 8, ""},
	{"fallocate", []string{"EIO", "ENOSPC", "EOPNOTSUPP"}, 8, ""},
	{"renameat", []string{"EIO", "ENOSPC", "EROFS"}, 8, ""},
	{"unlinkat", []string{"EIO", "EROFS"}, 6, ""},
	{"pwrite64", []string{"EIO", "ENOSPC", "EROFS", "EDQUOT"}, 16, crypt.FileName},
	{"openat", []string{"EIO", "EMFILE", "EROFS"}, 12, crypt.FileName},
}

// Each call that changes a file fails at some moment, once or from then on
// ("EROFS+": the file system became read-only), or for a while where that is waited
// out. Whatever the process made of it,
// nothing that was acknowledged is lost, and the next start goes on.
func TestFailingSystemCalls(t *testing.T) {
	t.Parallel()
	rnd := storetest.Rand(t)
	ended := map[string]int{}
	for i := range *faultRuns {
		f := faultCalls[i%len(faultCalls)]
		errno := f.errors[rnd.IntN(len(f.errors))]
		first := 1 + rnd.IntN(f.upTo)
		when := fmt.Sprint(first)
		if rnd.IntN(2) == 0 {
			when += "+"
		}
		if errno == "EMFILE" { // waited out, however long it takes
			when = fmt.Sprint(first, "..", first+8)
		}
		path := "" // a call with any file
		dir := fastDir(t)
		if f.file != "" {
			path = filepath.Join(dir, f.file)
		}
		said, how := runFaulty(t, dir, f.call, errno, when, path)
		ended[how]++
		what := fmt.Sprintf("run %d: %s fails with %s at %s: %s", i, f.call, errno, when, how)
		checkImage(t, dir, said, what)
		if t.Failed() {
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%v", ended)
	if ended["ended by the fault"] < *faultRuns/4 {
		t.Errorf("too few faults took effect: %v", ended)
	}
}

// A read that fails once is tried again: it is no damage.
func TestReadsAreTriedAgain(t *testing.T) {
	t.Parallel()
	for when := 1; when <= 60; when += 6 {
		dir := fastDir(t) // of this segment the process reads all when it opens the outbox again
		said, how := runFaulty(t, dir, "pread64", "EIO", fmt.Sprint(when), filepath.Join(dir, format.Name(4)))
		checkImage(t, dir, said, fmt.Sprintf("read %d fails: %s", when, how))
	}
}

// runFaulty runs powerRun in a child of which a system call fails, and returns
// what it said.
func runFaulty(t *testing.T, dir, call, errno, when, path string) (said []string, how string) {
	t.Helper()
	args := []string{"-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=" + call, "-e", "inject=" + call + ":error=" + errno + ":when=" + when}
	if path != "" {
		args = append(args, "-P", path)
	}
	cmd := exec.Command("strace", append(args, os.Args[0])...)
	cmd.Env = append(os.Environ(), powerDir+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case err == nil:
		how = "went on"
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		how = "ended by the fault"
	default:
		t.Fatalf("strace (make setup installs it) or a crash: %v\n%s", err, stderr.String())
	}
	if s := stderr.String(); strings.Contains(s, "panic") || strings.Contains(s, "fatal error") {
		t.Errorf("%s %s %s: it panicked: %s", call, errno, when, s)
	}
	for line := range strings.Lines(string(out)) {
		said = append(said, strings.ReplaceAll(strings.TrimSpace(line), " ", "\x00"))
	}
	return said, how
}
