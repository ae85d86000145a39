package install

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/record"
)

// powerDir names the gateway of the child process whose system calls are recorded.
const powerDir = "SCANRELAY_INSTALL_POWER_DIR"

func TestMain(m *testing.M) {
	dir := os.Getenv(powerDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := powerRun(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func machineIn(dir string) (*Installer, *launch.Launcher, *string) {
	var started string
	quiet := slog.New(slog.DiscardHandler)
	root, own := record.Root(filepath.Join(dir, "versions")), record.Own(filepath.Join(dir, "update"))
	return &Installer{Root: root, Own: own, Packaged: "0.9.0", PackagedFolder: "/usr/lib/scanrelay", Verifier: plain{}, Log: quiet},
		&launch.Launcher{
			Root: root, Own: own, Packaged: "0.9.0", Self: "/packaged", Log: quiet, Tell: func(string) {},
			Now:  func() record.Moment { return record.Moment{Boot: "b", At: time.Minute} },
			Exec: func(path string, _, _ []string) error { started = path; return nil },
		}, &started
}

// powerRun does all that writes: stage, install, the switch to a trial and its tries,
// commit, another that is bad and barred, back, with a repeated installation between.
func powerRun(dir string) error {
	i, l, started := machineIn(dir)
	root := func() error { return i.Run(context.Background()) }
	stage := func(version string) error {
		metadata := fmt.Appendf(nil, `{"version":%q,"sha256":%q,"length":%d}`, version, rel(version).SHA256, rel(version).Length)
		_, err := Stage(i.Own, metadata, time.Time{}, func(path string) error { return os.WriteFile(path, []byte(program(version)), 0o600) })
		return errors.Join(err, root())
	}
	try := func(version string, tries int) error {
		err := i.Own.SetState(record.State{Trial: &record.Trial{Release: rel(version)}})
		for range tries {
			err = errors.Join(err, launchOnce(l))
			if want := i.Root.Binary(rel(version)); *started != want {
				err = errors.Join(err, fmt.Errorf("%s started, not %s", *started, want))
			}
		}
		return err
	}
	ask := func(op, version string) error {
		_, err := i.Own.Ask(op, rel(version))
		return errors.Join(err, root())
	}
	commit := func(version string) error {
		return errors.Join(i.Own.SetState(record.State{Trial: &record.Trial{Release: rel(version), Tries: 1, Passed: true}}), ask(record.OpCommit, version), i.Own.SetState(record.State{}))
	}
	return errors.Join(
		root(), stage("1.0.0"), try("1.0.0", 1), commit("1.0.0"),
		stage("1.1.0"), try("1.1.0", 1), commit("1.1.0"),
		stage("1.2.0"), stage("1.2.0"), try("1.2.0", 3), launchOnce(l), ask(record.OpBar, "1.2.0"),
		stage("1.3.0"), try("1.3.0", 1), commit("1.3.0"), ask(record.OpBack, "1.3.0"), ask(record.OpMend, "1.1.0"), launchOnce(l),
	)
}

// launchOnce launches; what it becomes returns at once, as if it had ended.
func launchOnce(l *launch.Launcher) error {
	defer func() { _ = recover() }()
	exec := l.Exec
	defer func() { l.Exec = exec }()
	l.Exec = func(path string, argv, env []string) error {
		_ = exec(path, argv, env)
		panic("the process is another now")
	}
	return l.Run(nil, nil)
}

// act is one recorded system call, as far as a disk cares. Paths are from the gateway's
// folder on.
type act struct {
	kind     string // write, trunc, sync, create, mkdir, link, rename, unlink, rmdir, mode, syncdir
	path, to string
	at       int64
	data     []byte
}

// recordCalls runs the child under strace.
func recordCalls(t *testing.T, dir string) []act {
	t.Helper()
	log := filepath.Join(t.TempDir(), "strace")
	cmd := exec.Command("strace", "-f", "-yy", "-xx", "-s", "1000000", "-o", log, "-e",
		"trace=openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,symlinkat,symlink,mkdirat,mkdir,unlinkat,unlink,rmdir,fchmodat,fchmod,copy_file_range,sendfile", os.Args[0])
	cmd.Env = append(os.Environ(), powerDir+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("strace (make setup installs it): %v\n%s", err, out)
	}
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var acts []act
	halves, pos := map[string]string{}, map[string]int64{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		pid, rest, _ := strings.Cut(lines.Text(), " ")
		rest = strings.TrimLeft(rest, " ")
		if before, ok := strings.CutSuffix(rest, " <unfinished ...>"); ok {
			halves[pid] = before
			continue
		}
		if _, half, ok := strings.Cut(rest, " resumed>"); ok && strings.HasPrefix(rest, "<... ") {
			rest = halves[pid] + half
		}
		name, args, ok := strings.Cut(rest, "(")
		end := strings.LastIndex(args, ") ")
		if !ok || end < 0 || strings.Contains(args[end:], "= -1 ") {
			continue
		}
		a, known := parseCall(t, dir, name, args[:end], args[end:], pos)
		if known {
			acts = append(acts, a)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return acts
}

// parseCall reads one line of strace -yy: a descriptor is followed by <its path>.
func parseCall(t *testing.T, dir, name, args, result string, pos map[string]int64) (act, bool) {
	t.Helper()
	var texts []string // in quotes, as \x..
	for i, s := range strings.Split(args, `"`) {
		if i%2 == 1 {
			b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
			if err != nil {
				t.Fatalf("%s(%.200s): %v", name, args, err)
			}
			texts = append(texts, string(b))
		}
	}
	fields := strings.Split(args, ", ")
	of := func(field string) string { // the path of a descriptor
		_, p, _ := strings.Cut(field, "<")
		p, _, _ = strings.Cut(p, ">")
		if b, err := hex.DecodeString(strings.ReplaceAll(p, `\x`, "")); err == nil && strings.Contains(p, `\x`) {
			p = string(b)
		}
		return strings.TrimSuffix(p, " (deleted)")
	}
	below := func(p, at string) (string, bool) {
		if !filepath.IsAbs(p) && at != "" {
			p = filepath.Join(at, p)
		}
		rel, err := filepath.Rel(dir, p)
		return rel, err == nil && filepath.IsLocal(rel)
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatalf("%s(%.200s): %v", name, args, err)
		}
		return n
	}
	switch name {
	case "openat":
		p, in := below(texts[0], of(fields[0]))
		fd := of(result)
		pos[fd] = 0
		if strings.Contains(args, "O_TRUNC") && strings.Contains(args, "O_CREAT") {
			return act{kind: "create", path: p, at: 1}, in
		}
		return act{kind: "create", path: p}, in && strings.Contains(args, "O_CREAT")
	case "write":
		p, in := below(of(fields[0]), "")
		at := pos[of(fields[0])]
		if in {
			pos[of(fields[0])] += int64(len(texts[0]))
			return act{kind: "write", path: p, at: at, data: []byte(texts[0])}, true
		}
	case "pwrite64", "copy_file_range", "sendfile", "ftruncate", "fchmod":
		if _, in := below(of(fields[0]), ""); in {
			t.Fatalf("the recorder knows no %s", name)
		}
	case "fsync", "fdatasync":
		p, in := below(of(fields[0]), "")
		return act{kind: "sync", path: p}, in
	case "rename", "renameat", "renameat2", "link", "linkat":
		from, in := below(texts[0], "")
		to, _ := below(texts[1], "")
		kind := "rename"
		if strings.HasPrefix(name, "link") {
			t.Fatal("the recorder knows no hard links")
		}
		return act{kind: kind, path: from, to: to}, in
	case "symlink", "symlinkat":
		p, in := below(texts[1], "")
		return act{kind: "link", path: p, to: texts[0]}, in
	case "mkdir", "mkdirat":
		p, in := below(texts[0], "")
		return act{kind: "mkdir", path: p, at: number(strings.TrimSpace(fields[len(fields)-1]))}, in
	case "fchmodat":
		p, in := below(texts[0], "")
		return act{kind: "mode", path: p}, in
	case "unlink", "unlinkat", "rmdir":
		p, in := below(texts[0], of(fields[0]))
		return act{kind: "unlink", path: p}, in
	}
	return act{}, false
}

// node is a file, folder or link on the disk.
type node struct {
	link    string
	synced  []byte
	pending []act // writes that were not synced
	dir     bool
}

// disk is what survives: names up to a point that lies at or after the last sync of
// each folder, contents of each file up to its last sync, and what came later in part.
type disk struct {
	names   map[string]*node // durable, by path
	now     map[string]*node // as programs see it
	pending []func(names map[string]*node)
	waits   []string // the folder of each pending change
}

func (d *disk) change(dir string, do func(names map[string]*node)) {
	do(d.now)
	d.pending = append(d.pending, do)
	d.waits = append(d.waits, dir)
}

func (d *disk) do(a act) {
	parent := filepath.Dir(a.path)
	switch a.kind {
	case "create":
		n := d.now[a.path]
		if n == nil {
			n = &node{}
			d.change(parent, func(names map[string]*node) { names[a.path] = n })
		} else if a.at == 1 {
			n.pending = append(n.pending, act{kind: "trunc"})
		}
	case "write":
		if n := d.now[a.path]; n != nil {
			n.pending = append(n.pending, a)
		}
	case "mkdir":
		n := &node{dir: true}
		d.change(parent, func(names map[string]*node) { names[a.path] = n })
	case "link":
		n := &node{link: a.to}
		d.change(parent, func(names map[string]*node) { names[a.path] = n })
	case "unlink":
		d.change(parent, func(names map[string]*node) { delete(names, a.path) })
	case "rename":
		d.change(parent, func(names map[string]*node) {
			for p, n := range maps.Clone(names) {
				if p == a.path || strings.HasPrefix(p, a.path+"/") {
					delete(names, p)
					names[a.to+strings.TrimPrefix(p, a.path)] = n
				}
			}
		})
	case "sync":
		n := d.now[a.path]
		if n == nil || n.dir || a.path == "." {
			d.settle(a.path)
			return
		}
		n.synced = contents(n, len(n.pending))
		n.pending = nil
	}
}

// settle makes durable what a folder's sync promises, and, as a journal keeps the order
// of names, whatever came before its last change.
func (d *disk) settle(dir string) {
	last := -1
	for i, w := range d.waits {
		if w == dir {
			last = i
		}
	}
	for _, do := range d.pending[:last+1] {
		do(d.names)
	}
	d.pending, d.waits = d.pending[last+1:], d.waits[last+1:]
}

// contents of a file with so many of its pending writes.
func contents(n *node, writes int) []byte {
	b := bytes.Clone(n.synced)
	for _, a := range n.pending[:writes] {
		if a.kind == "trunc" {
			b = nil
			continue
		}
		if grow := a.at + int64(len(a.data)) - int64(len(b)); grow > 0 {
			b = append(b, make([]byte, grow)...)
		}
		copy(b[a.at:], a.data)
	}
	return b
}

// image writes one state that the disk may be in after a power cut: so many of the
// pending names, and of what was not synced nothing, all, or zeros.
func (d *disk) image(t *testing.T, dir string, names, how int) {
	t.Helper()
	all := maps.Clone(d.names)
	for _, do := range d.pending[:names] {
		do(all)
	}
	for _, p := range slices.Sorted(maps.Keys(all)) {
		n, at := all[p], filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case n.dir:
			err = os.MkdirAll(at, 0o755)
		case n.link != "":
			err = os.Symlink(n.link, at)
		default:
			body := n.synced
			if how > 0 {
				body = contents(n, len(n.pending))
			}
			if how == 2 && len(n.pending) > 0 { // the length came, the content did not
				body = make([]byte, len(body))
			}
			err = os.WriteFile(at, body, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestPowerCut cuts the power after each system call of all that writes: whatever the
// disk has kept of what was not synced, a version starts that was verified, or the
// packaged one where nothing was committed yet, and never a candidate that was not
// counted; and root's part does what is still asked for.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(fast(t), "gateway")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	acts := recordCalls(t, dir)
	kinds := map[string]int{}
	for _, a := range acts {
		kinds[a.kind]++
	}
	if kinds["sync"] < 100 || kinds["write"] < 50 || kinds["rename"] < 50 || kinds["link"] < 3 || kinds["mkdir"] < 7 || kinds["unlink"] < 30 {
		t.Fatalf("recorded too little: %v", kinds)
	}
	d := &disk{names: map[string]*node{}, now: map[string]*node{}}
	images, known := 0, map[string]bool{}
	committed := "" // the oldest version that must start: the last that was committed durably
	for cut := 0; cut <= len(acts); cut++ {
		if cut > 0 {
			d.do(acts[cut-1])
		}
		for i, names := range slices.Compact([]int{0, len(d.pending) / 2, len(d.pending)}) {
			image, how := fast(t), (cut+i)%3
			d.image(t, image, names, how)
			what := fmt.Sprintf("cut after call %d of %d (%s %s), %d of %d names, unsynced %d", cut, len(acts), acts[max(cut, 1)-1].kind, acts[max(cut, 1)-1].path, names, len(d.pending), how)
			known[checkImage(t, image, what, committed)] = true
			images++
			if t.Failed() {
				return
			}
			if err := os.RemoveAll(image); err != nil {
				t.Fatal(err)
			}
		}
		if rec := d.record(t); rec.Committed.Version != "" {
			committed = rec.Committed.Version
		}
	}
	for _, version := range []string{"packaged", "1.0.0", "1.1.0", "1.2.0", "1.3.0"} {
		if !known[version] {
			t.Errorf("no image started %s: %v", version, known)
		}
	}
	t.Logf("%d images of %d system calls %v", images, len(acts), kinds)
}

// fast is a folder in memory where there is one: what a disk keeps is modelled here.
func fast(t *testing.T) string {
	t.Helper()
	base := "/dev/shm"
	if info, err := os.Stat(base); err != nil || !info.IsDir() {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "scanrelay-install-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// record is root's, as it is durable.
func (d *disk) record(t *testing.T) (rec record.Record) {
	t.Helper()
	n := d.names["versions/record"]
	if n == nil || len(n.pending) > 0 {
		return rec
	}
	path := filepath.Join(t.TempDir(), "record")
	if err := os.WriteFile(path, n.synced, 0o600); err != nil {
		t.Fatal(err)
	}
	rec, err := record.Root(filepath.Dir(path)).Read()
	if err != nil {
		t.Error(err)
	}
	return rec
}

// checkImage starts a gateway after a power cut, and returns which version that is.
func checkImage(t *testing.T, dir, what, committed string) string {
	t.Helper()
	i, l, started := machineIn(dir)
	if err := errors.Join(os.MkdirAll(string(i.Root), 0o755)); err != nil {
		t.Fatal(err)
	}
	before, err := i.Root.Read()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if _, err := i.Own.State(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	l.Now = func() record.Moment { return record.Moment{Boot: "after the cut", At: 1} }
	if err := launchOnce(l); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	version := filepath.Base(filepath.Dir(*started))
	if *started == "/packaged" {
		version = "packaged"
	}
	allowed := []string{cmp.Or(before.Committed.Version, "packaged"), before.Candidate.Version}
	if !slices.Contains(allowed, version) {
		t.Errorf("%s: %s starts, of %v", what, version, allowed)
	}
	if st, err := i.Own.State(); version == before.Candidate.Version && version != before.Committed.Version && (err != nil || st.Trial == nil || st.Trial.Tries == 0) {
		t.Errorf("%s: a try that was not counted: %+v, %v", what, st.Trial, err)
	}
	if committed != "" && before.Committed.Version == "" {
		t.Errorf("%s: %s was committed, nothing is", what, committed)
	}
	if err := i.Run(t.Context()); err != nil {
		t.Errorf("%s: root's part: %v", what, err)
	}
	after, err := i.Root.Read()
	if err != nil || i.Own.Asked() || strings.Contains(after.Answer.Reason, "no such file") {
		t.Errorf("%s: afterwards %+v, %v", what, after, err)
	}
	for _, r := range []record.Release{after.Committed, after.Previous, after.Candidate} {
		if err := launch.Verify(i.Root.Binary(r), r); !r.IsPackaged() && err != nil {
			t.Errorf("%s: the record names what is not there: %v", what, err)
		}
	}
	if to := i.Root.Linked(); to != cmp.Or(after.Committed.Version, i.PackagedFolder) {
		t.Errorf("%s: current leads to %s, committed is %q", what, to, after.Committed.Version)
	}
	return version
}
