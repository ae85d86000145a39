package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Server is one instance.
type Server struct {
	dir      string // holds data, socket and log
	bin      string
	as       *syscall.Credential // nil: who runs the test
	settings []string            // name=value
	life     *life               // nil before the first start
}

// life is one postmaster.
type life struct {
	pid   int
	ended chan struct{}
	err   error // valid once ended is closed
}

// limit is how long is waited for an instance: what has not come by then will not,
// however slow the machine is.
const limit = 5 * time.Minute

// The name of role and socket; the port is part of the socket's name only.
const (
	role = "scanrelay"
	port = "5432"
)

// New makes an instance and starts it. Its settings are as name=value; a test of
// durability passes fsync=on, which costs each commit a turn of the disk. Close
// ends it.
func New(settings ...string) (s *Server, err error) {
	s = &Server{}
	if s.bin, err = find(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "scanrelay-pg-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.findUser(); err != nil {
		return nil, err
	}
	if err := s.GiveAway(s.dir); err != nil {
		return nil, err
	}
	if err := s.command("initdb", "-D", s.data(), "-U", role, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"); err != nil {
		return nil, err
	}
	s.settings = append([]string{"listen_addresses=", "fsync=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=60",
		"autovacuum_naptime=1s", "timezone=UTC", "log_min_messages=warning"}, settings...)
	return s, s.Start()
}

// Standby makes an instance that follows this one, and whose word this one waits for
// before it says that anything is committed.
func (s *Server) Standby() (b *Server, err error) {
	b = &Server{bin: s.bin, settings: s.settings, as: s.as}
	if b.dir, err = os.MkdirTemp("", "scanrelay-pg-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if err := b.GiveAway(b.dir); err != nil {
		return nil, err
	}
	if err := b.command("pg_basebackup", "-D", b.data(), "-d", s.DSN("postgres"), "-R", "-X", "stream", "-c", "fast", "--no-sync"); err != nil {
		return nil, err
	}
	if err := b.Start(); err != nil {
		return nil, err
	}
	for _, set := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if err := s.SQL("postgres", set); err != nil {
			return nil, err
		}
	}
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if state, err := s.Query("postgres", "SELECT sync_state FROM pg_stat_replication"); err != nil || state == "sync" {
			return b, err
		}
	}
	return nil, fmt.Errorf("the standby does not follow after %v\n%s", limit, b.Log())
}

// Promote makes a standby the one that is written to.
func (s *Server) Promote() error { return s.SQL("postgres", "SELECT pg_promote()") }

// command runs one of PostgreSQL's programs as the user who runs the instance.
func (s *Server) command(name string, args ...string) error {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: s.as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// findUser finds a user of the system: PostgreSQL refuses to run as root.
func (s *Server) findUser() error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return fmt.Errorf("find a user to run PostgreSQL: %w", err)
		}
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return nil
}

// GiveAway gives a folder to the user who runs the instance.
func (s *Server) GiveAway(dir string) error {
	if s.as == nil {
		return nil
	}
	return errors.Join(os.Chown(dir, int(s.as.Uid), int(s.as.Gid)), os.Chmod(dir, 0o755)) // others use the socket
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Start starts it, again after it has ended, and returns when it takes connections.
func (s *Server) Start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own copy
	flags := []string{"-D", s.data(), "-k", s.dir, "-p", port}
	for _, set := range s.settings {
		flags = append(flags, "-c", set)
	}
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), flags...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	// It ends with the thread that starts it, so that none is left behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	started, l := make(chan error), &life{ended: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		defer close(l.ended)
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		l.pid = cmd.Process.Pid
		started <- nil
		l.err = cmd.Wait()
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	s.life = l
	return s.awaitReady()
}

// awaitReady waits until it takes connections, as it writes into its lock file.
func (s *Server) awaitReady() error {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		select {
		case <-s.life.ended:
			return fmt.Errorf("PostgreSQL ended as it started: %w\n%s", s.life.err, s.Log())
		default:
		}
		lock, _ := os.ReadFile(filepath.Join(s.data(), "postmaster.pid")) // it may not be there yet
		if lines := strings.Split(string(lock), "\n"); len(lines) > 7 && lines[0] == strconv.Itoa(s.life.pid) && strings.TrimSpace(lines[7]) == "ready" {
			return nil
		}
	}
	return fmt.Errorf("PostgreSQL takes no connections after %v\n%s", limit, s.Log())
}

// Log returns what it has said.
func (s *Server) Log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Signal sends the instance a signal: SIGINT ends it in order, SIGQUIT at once as a
// crash does, both without waiting for who is connected.
func (s *Server) Signal(sig syscall.Signal) error { return syscall.Kill(s.life.pid, sig) }

// Stop ends it in order and returns when it has ended.
func (s *Server) Stop() error {
	err := s.Signal(syscall.SIGINT)
	<-s.life.ended
	return err
}

// Kill ends it and all that serves its connections by SIGKILL, and returns when
// they are gone: until then it would not start again.
func (s *Server) Kill() error {
	children, err := s.children()
	if err != nil {
		return err
	}
	err = s.Signal(syscall.SIGKILL)
	<-s.life.ended
	for _, pid := range children {
		for syscall.Kill(pid, syscall.SIGKILL) == nil {
			time.Sleep(time.Millisecond)
		}
	}
	return err
}

// children are the processes that serve its connections, and its helpers.
func (s *Server) children() (pids []int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", s.life.pid, s.life.pid))
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, err
}

// Freeze stops all of it in its tracks: it takes connections and answers nobody,
// until it is frozen no more.
func (s *Server) Freeze(frozen bool) error {
	sig := syscall.SIGCONT
	if frozen {
		sig = syscall.SIGSTOP
	}
	err := s.Signal(sig) // first: then it makes no more of them
	children, err2 := s.children()
	for _, pid := range children {
		if killed := syscall.Kill(pid, sig); !errors.Is(killed, syscall.ESRCH) { // one may have ended
			err = errors.Join(err, killed)
		}
	}
	return errors.Join(err, err2)
}

// Close ends it, if it runs, and removes its folder.
func (s *Server) Close() error {
	if s.life != nil {
		select {
		case <-s.life.ended:
		default:
			_ = s.Signal(syscall.SIGQUIT) // it may end by itself meanwhile
			<-s.life.ended
		}
	}
	return os.RemoveAll(s.dir)
}

// DSN is how a database of this instance is reached, or of these others.
func (s *Server) DSN(database string, others ...*Server) string {
	hosts := s.dir
	for _, other := range others {
		hosts += "," + other.dir
	}
	return fmt.Sprintf("host=%s port=%s user=%s dbname=%s", hosts, port, role, database)
}

// Create makes a database with a name, empty.
func (s *Server) Create(database string) error {
	return s.SQL("postgres", fmt.Sprintf("CREATE DATABASE %q", database))
}

// SQL runs statements in a database.
func (s *Server) SQL(database, statements string) error {
	_, err := s.Query(database, statements)
	return err
}

// Query runs statements and returns what they print: a line a row, | between columns.
func (s *Server) Query(database, statements string) (string, error) {
	cmd := exec.Command(filepath.Join(s.bin, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", s.DSN(database), "-c", statements)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// find returns the folder of PostgreSQL's programs.
func find() (string, error) {
	if path, err := exec.LookPath("pg_config"); err == nil {
		if out, err := exec.Command(path, "--bindir").Output(); err == nil && has(strings.TrimSpace(string(out))) {
			return strings.TrimSpace(string(out)), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin") // where Debian keeps them
	if err != nil {
		return "", err
	}
	for i := len(found) - 1; i >= 0; i-- {
		if has(found[i]) {
			return found[i], nil
		}
	}
	for _, dir := range []string{"/usr/pgsql-15/bin", "/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"} {
		if has(dir) {
			return dir, nil
		}
	}
	return "", errors.New("PostgreSQL is not installed: run make setup")
}

func has(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "initdb"))
	return err == nil
}
