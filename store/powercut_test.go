package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
)

var powerImages = flag.Int("powercut.images", 300, "crash images of the power-cut test")

// powerDir names the outbox of the child process whose system calls are
// recorded.
const powerDir = "SCANRELAY_STORE_POWER_DIR"

// powerRun does something of everything, and says on standard output what was
// acknowledged: "A <event id>", "S <event id> <outcome>".
func powerRun(dir string) error {
	c := newTestClock()
	o, err := Open(dir, small(c))
	if err != nil {
		return err
	}
	n := 0
	for round := range 5 {
		for range 12 {
			b := scan.Batch{}
			for range 1 + n%4 {
				b.Events = append(b.Events, padded(fmt.Sprint("W", n%9), fmt.Sprint("e", n), c.Now().Unix(), n%5*700))
				n++
			}
			if n%3 == 0 {
				b.Rejects = append(b.Rejects, scan.Reject{Topic: "t", Payload: make([]byte, 900), Index: -1})
			}
			if _, err := o.Append(context.Background(), b); err != nil {
				return err
			}
			for _, e := range b.Events {
				fmt.Println("A", e.EventID)
			}
			if err := o.Synced(o.Counts().NextSeq-1, nil, nil); err != nil {
				return err
			}
			if err := powerPush(o); err != nil {
				return err
			}
		}
		if round == 3 {
			if err := o.Close(context.Background()); err != nil {
				return err
			}
			if o, err = Open(dir, small(c)); err != nil {
				return err
			}
			// The committer's first look at what is past retain comes before.
			if err := o.change(context.Background(), &changeOp{set: func(*group) {}}); err != nil {
				return err
			}
		}
		if err := o.roll(); err != nil {
			return err
		}
		c.advance(100 * time.Hour) // segments of two rounds ago are past retain
		o.retire()
	}
	return o.Close(context.Background())
}

func powerPush(o *Outbox) error {
	records, err := o.Lease(3, time.Minute)
	if err != nil {
		return err
	}
	for i, r := range records {
		outcome := []event.State{event.Pushed, event.Dead, event.NotBound}[(int(r.ID.Seq)+i)%3]
		if err := o.Settle(context.Background(), []event.Settlement{{Seq: r.ID.Seq, Outcome: outcome}}); err != nil {
			return err
		}
		fmt.Println("S", r.Event.EventID, outcome)
	}
	return nil
}

// diskOp is one recorded system call, as far as a disk cares.
type diskOp struct {
	kind     string // write, size, sync, failed (a sync), create, rename, link, unlink, syncdir, say
	inode    int
	at       int64
	data     []byte
	from, to string
}

// record runs what env says in a child under strace, with more options of it, and
// returns what it did to the files in dir.
func record(t *testing.T, dir, env string, options ...string) []diskOp {
	t.Helper()
	log := filepath.Join(t.TempDir(), "strace")
	args := append([]string{"-f", "-xx", "-s", "4000000", "-o", log, "-e",
		"trace=openat,pwrite64,write,ftruncate,fallocate,fdatasync,fsync,renameat,renameat2,rename,linkat,link,unlinkat,unlink,close"}, options...)
	cmd := exec.Command("strace", append(args, os.Args[0])...)
	cmd.Env = append(os.Environ(), env+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("strace (make setup installs it): %v\n%s", err, out)
	}
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &recorder{dir: dir, fds: map[string]int{}, pos: map[string]int64{}, names: map[string]int{}, halves: map[string]string{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		r.line(lines.Text())
	}
	if lines.Err() != nil || r.err != nil {
		t.Fatal(lines.Err(), r.err)
	}
	return r.ops
}

type recorder struct {
	dir    string
	ops    []diskOp
	fds    map[string]int   // open files by descriptor
	pos    map[string]int64 // and where the next write goes
	names  map[string]int
	inodes int
	halves map[string]string // calls that another thread's interrupted
	err    error
}

// line takes a line of strace: "pid call(arguments) = result and more".
func (r *recorder) line(s string) {
	pid, rest, _ := strings.Cut(s, " ")
	rest = strings.TrimLeft(rest, " ")
	if before, ok := strings.CutSuffix(rest, " <unfinished ...>"); ok {
		r.halves[pid] = before
		return
	}
	if _, half, ok := strings.Cut(rest, " resumed>"); ok && strings.HasPrefix(rest, "<... ") {
		rest = r.halves[pid] + half
		delete(r.halves, pid)
	}
	name, rest, ok := strings.Cut(rest, "(")
	if fd, failed, found := strings.Cut(rest, ")"); found && strings.HasSuffix(name, "sync") && strings.Contains(failed, "= -1 E") {
		if inode, known := r.fds[fd]; known && inode != 0 {
			r.ops = append(r.ops, diskOp{kind: "failed", inode: inode})
		}
		return
	}
	end := strings.LastIndex(rest, ") ")
	if !ok || end < 0 {
		return
	}
	result, _, _ := strings.Cut(strings.TrimLeft(rest[end+1:], " ="), " ")
	if _, err := strconv.ParseUint(result, 10, 32); err == nil {
		r.call(name, rest[:end], result)
	}
}

func (r *recorder) call(name, args, result string) {
	fd, _, _ := strings.Cut(args, ",")
	var texts [][]byte
	for i, text := range strings.Split(args, `"`) {
		if i%2 == 1 { // within quotes
			b, err := hex.DecodeString(strings.ReplaceAll(text, `\x`, ""))
			r.err = errors.Join(r.err, err)
			texts = append(texts, b)
		}
	}
	fields := strings.Split(args, ", ")
	number := func(i int) int64 {
		n, err := strconv.ParseInt(fields[len(fields)-i], 10, 64)
		r.err = errors.Join(r.err, err)
		return n
	}
	inode, known := r.fds[fd]
	add := func(op diskOp) { r.ops = append(r.ops, op) }
	switch name {
	case "openat":
		r.open(args, result, string(texts[0]))
	case "close":
		delete(r.fds, fd)
	case "write":
		if fd == "1" {
			add(diskOp{kind: "say", data: texts[0]})
		} else if known {
			add(diskOp{kind: "write", inode: inode, at: r.pos[fd], data: texts[0]})
			r.pos[fd] += int64(len(texts[0]))
		}
	case "pwrite64":
		if known {
			add(diskOp{kind: "write", inode: inode, at: number(1), data: texts[0]})
		}
	case "ftruncate":
		if known {
			add(diskOp{kind: "size", inode: inode, at: number(1)})
		}
	case "fallocate":
		if known {
			add(diskOp{kind: "size", inode: inode, at: number(1) + number(2)})
		}
	case "fsync", "fdatasync":
		if known && inode == 0 {
			add(diskOp{kind: "syncdir"})
		} else if known {
			add(diskOp{kind: "sync", inode: inode})
		}
	case "rename", "renameat", "renameat2", "link", "linkat":
		from, to := filepath.Base(string(texts[0])), filepath.Base(string(texts[1]))
		r.names[to] = r.names[from]
		kind := "link"
		if strings.HasPrefix(name, "rename") {
			kind = "rename"
			delete(r.names, from)
		}
		add(diskOp{kind: kind, from: from, to: to})
	case "unlink", "unlinkat":
		from := filepath.Base(string(texts[0]))
		delete(r.names, from)
		add(diskOp{kind: "unlink", from: from})
	}
}

// open notes which file a descriptor is; the folder is inode 0.
func (r *recorder) open(args, fd, path string) {
	delete(r.fds, fd)
	if path == r.dir {
		r.fds[fd] = 0
		return
	}
	if filepath.Dir(path) != r.dir {
		return
	}
	name := filepath.Base(path)
	inode, ok := r.names[name]
	if !ok {
		r.inodes++
		inode = r.inodes
		r.names[name] = inode
		r.ops = append(r.ops, diskOp{kind: "create", inode: inode, to: name})
	} else if strings.Contains(args, "O_TRUNC") {
		r.ops = append(r.ops, diskOp{kind: "size", inode: inode, at: 0})
	}
	r.fds[fd], r.pos[fd] = inode, 0
}

// disk is what survives a power cut: file contents up to the last sync of each,
// names up to the last sync of the folder. What came later may be there, in part
// or in any order, or not.
type disk struct {
	files   map[int][]byte
	names   map[string]int
	pending map[int][]diskOp
	dirOps  []diskOp
	said    []string
}

func (d *disk) do(op diskOp) {
	switch op.kind {
	case "say":
		d.said = append(d.said, strings.Fields(strings.TrimSpace(strings.ReplaceAll(string(op.data), " ", "\x00")))...)
	case "write", "size":
		d.pending[op.inode] = append(d.pending[op.inode], op)
	case "sync":
		for _, p := range d.pending[op.inode] {
			d.files[op.inode] = apply(d.files[op.inode], p)
		}
		delete(d.pending, op.inode)
	case "failed": // the kernel takes the pages for written, and never tries again
		delete(d.pending, op.inode)
	case "syncdir":
		for _, p := range d.dirOps {
			rename(d.names, p)
		}
		d.dirOps = nil
	default:
		d.dirOps = append(d.dirOps, op)
	}
}

func rename(names map[string]int, op diskOp) {
	switch op.kind {
	case "create":
		names[op.to] = op.inode
	case "rename", "link":
		names[op.to] = names[op.from]
	}
	if op.kind == "rename" || op.kind == "unlink" {
		delete(names, op.from)
	}
}

func apply(file []byte, op diskOp) []byte {
	end := op.at + int64(len(op.data))
	if op.kind == "size" && op.at == 0 {
		return nil
	}
	if n := end - int64(len(file)); n > 0 {
		file = append(file, make([]byte, n)...)
	}
	copy(file[op.at:], op.data)
	return file
}

// image writes one possible state after a power cut into dir.
func (d *disk) image(t *testing.T, dir string, rnd *rand.Rand) {
	t.Helper()
	names := maps.Clone(d.names)
	for _, op := range d.dirOps[:rnd.IntN(len(d.dirOps)+1)] { // the file system's journal keeps their order
		rename(names, op)
	}
	mode, hole := rnd.IntN(5), make([]byte, boltpage.PageSize)
	for name, inode := range names {
		file := bytes.Clone(d.files[inode])
		for _, op := range d.pending[inode] {
			file = d.survive(file, op, mode, rnd)
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err == nil {
			err = f.Truncate(int64(len(file)))
		}
		for at := 0; at < len(file) && err == nil; at += boltpage.PageSize { // holes stay holes
			if page := file[at:min(at+boltpage.PageSize, len(file))]; !bytes.Equal(page, hole[:len(page)]) {
				_, err = f.WriteAt(page, int64(at))
			}
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// survive applies what is left of a write that was not synced: nothing, all, or
// any of its sectors of 512 or 4096 bytes.
func (d *disk) survive(file []byte, op diskOp, mode int, rnd *rand.Rand) []byte {
	switch {
	case mode == 0:
		return file
	case mode == 1 || op.kind == "size" && rnd.IntN(2) == 0:
		return apply(file, op)
	case op.kind == "size":
		return file
	case mode == 2:
		if rnd.IntN(2) == 0 {
			return apply(file, op)
		}
		return file
	}
	sector := []int{512, 4096}[mode-3]
	for at := 0; at < len(op.data); at += sector {
		if rnd.IntN(2) == 0 {
			part := op.data[at:min(at+sector, len(op.data))]
			file = apply(file, diskOp{kind: "write", at: op.at + int64(at), data: part})
		}
	}
	return file
}

// After a power cut at any moment, with what was not synced lost, torn
// or reordered, every acknowledged event and outcome is there, nothing is named
// as damaged, counts agree, and the outbox goes on.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	ops := record(t, fastDir(t), powerDir)
	kinds := map[string]int{}
	for _, op := range ops {
		kinds[op.kind]++
	}
	if kinds["say"] < 100 || kinds["sync"] < 100 || kinds["write"] < 500 || kinds["rename"] < 5 || kinds["unlink"] < 2 || kinds["syncdir"] < 10 {
		t.Fatalf("recorded too little: %v", kinds)
	}
	rnd := storetest.Rand(t)
	cuts := make([]int, storetest.Rounds(*powerImages, 100))
	for i := range cuts {
		cuts[i] = rnd.IntN(len(ops) + 1)
	}
	slices.Sort(cuts)
	d := &disk{files: map[int][]byte{}, names: map[string]int{}, pending: map[int][]diskOp{}}
	done, acked := 0, 0
	for i, cut := range cuts {
		for ; done < cut; done++ {
			d.do(ops[done])
		}
		dir := fastDir(t)
		d.image(t, dir, rnd)
		acked = checkImage(t, dir, d.said, fmt.Sprintf("image %d, cut after call %d of %d (%v)", i, cut, len(ops), ops[max(cut, 1)-1].kind))
		if t.Failed() {
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d images of %d system calls %v; %d events acknowledged at the last", len(cuts), len(ops), kinds, acked)
}

func checkImage(t *testing.T, dir string, said []string, what string) (acked int) {
	t.Helper()
	o, err := Open(dir, small(newTestClock()))
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return 0
	}
	defer func() {
		if err := o.Close(context.Background()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}()
	states := map[string]event.State{}
	for _, r := range all(t, o, Filter{}) {
		states[r.Event.EventID] = r.State
	}
	c := o.Counts()
	gone := c.Received - uint64(len(states)) // in segments that were dropped
	for _, s := range said {
		f := strings.Split(s, "\x00")
		state, there := states[f[1]]
		switch {
		case f[0] == "A":
			acked++
			if !there && gone == 0 {
				t.Errorf("%s: %s was acknowledged and is gone", what, f[1])
			}
		case there && state.String() != f[2]:
			t.Errorf("%s: %s was %s and is %s", what, f[1], f[2], state)
		case !there && f[2] == "dead":
			t.Errorf("%s: dead letter %s is gone", what, f[1])
		}
	}
	if c.Received < uint64(acked) || c.Damaged != "" {
		t.Errorf("%s: %d acknowledged, %d received, damaged: %q", what, acked, c.Received, c.Damaged)
	}
	checkSum(t, c)
	mustAppend(t, o, newEvent("W", "after the cut", 1))
	return acked
}
