package identity

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"scanrelay/agent/scan"
	"scanrelay/store/durable"
)

// Names of a Journal's files, in data_dir.
const (
	JournalName = "identity.log"
	SecretName  = "identity.key"
	LockName    = "identity.lock"
)

// Journal is the Store of one process: all records in memory, each change a line
// with its checksum that is added to a file. A line is kept whole or not at all, and
// a damaged one costs what stands in it, not the others; a copy of the file is a
// backup of it.
type Journal struct {
	dir    string // "": in memory only
	log    *slog.Logger
	secret []byte
	lock   *durable.Lock // nil in memory, and where none could be taken

	mu      sync.RWMutex
	records map[string]json.RawMessage // by kind/name; read under mu, changed under mu by who writes

	queue   sync.Mutex
	waiting []*change // changes that nobody has begun; guarded by queue

	writing chan struct{}        // capacity 1: held by who writes; guards what follows
	sync    func(*os.File) error // (*os.File).Sync; tests count them
	live    int64                // bytes of the records
	f       *os.File             // nil: it could not be written at the start, and is made anew when it can
	damaged bool                 // the file is, and must be kept aside before that
	size    int64
	broken  error // a sync failed: nothing is written any more
}

const (
	journalVersion = 1
	compactAbove   = 1 << 20 // bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// line is what stands after the checksum. The first line has the version alone.
type line struct {
	Version int                        `json:"version,omitempty"`
	Put     map[string]json.RawMessage `json:"put,omitempty"`
}

// OpenJournal reads the journal in dir and locks it; "" keeps one in memory. Damaged lines are left out and named, and the file is kept aside.
func OpenJournal(dir string, log *slog.Logger) (*Journal, error) {
	j := &Journal{
		dir: dir, log: log, records: map[string]json.RawMessage{}, secret: make([]byte, 32),
		writing: make(chan struct{}, 1), sync: (*os.File).Sync,
	}
	rand.Read(j.secret) // never fails
	if dir == "" {
		return j, nil
	}
	err := j.takeLock()
	if err == nil {
		if err = j.open(); err != nil && j.lock != nil {
			j.lock.Release()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", JournalName, err)
	}
	return j, nil
}

// takeLock goes without where the file system takes no more files.
func (j *Journal) takeLock() (err error) {
	j.lock, err = durable.LockExclusive(filepath.Join(j.dir, LockName))
	if errors.Is(err, durable.ErrInUse) {
		return err
	}
	if err != nil {
		j.unwritten(err)
	}
	return nil
}

// unwritten: a centre whose disk is full or read only starts all the same.
func (j *Journal) unwritten(err error) {
	j.log.Error("the depots' identities can be read only; enrolment and sessions go on once they can be written", "error", err)
}

func (j *Journal) path() string { return filepath.Join(j.dir, JournalName) }

func (j *Journal) open() error {
	if err := j.openSecret(); err != nil {
		return err
	}
	data, err := durable.ReadFile(j.path())
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return err
	}
	whole := int64(bytes.LastIndexByte(data, '\n') + 1)
	lines, err := j.read(data)
	if err != nil {
		return err
	}
	if j.damaged = lines > 0; j.damaged {
		j.log.Error("damaged lines in the depots' identities: these depots may have to be enrolled again", "file", JournalName, "lines", lines, "kept", durable.AsideName(j.path()))
	}
	if missing || j.damaged {
		err = j.ready()
	} else {
		err = j.goOn(whole) // the rest was never answered
	}
	if err != nil {
		j.unwritten(err)
	}
	return nil
}

// unfinished reports whether this is the beginning of a line that a power cut ended.
func unfinished(rest []byte) bool {
	sum, body, cut := bytes.Cut(rest, []byte(" "))
	_, err := strconv.ParseUint("0"+string(sum), 16, 64)
	return err == nil && (len(sum) == 8 || len(sum) < 8 && !cut) && !bytes.ContainsRune(body, 0)
}

// goOn adds to the file from there on.
func (j *Journal) goOn(at int64) error {
	f, err := durable.Open(j.path(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := f.Truncate(at); err != nil {
		return errors.Join(err, f.Close())
	}
	j.f, j.size = f, at
	return nil
}

// ready makes the file, where there is none that can be written.
func (j *Journal) ready() error {
	if j.f != nil {
		return nil
	}
	if j.damaged {
		if err := durable.SetAside(j.path(), durable.AsideName(j.path())); err != nil {
			return err
		}
		j.damaged = false
	}
	return j.compact()
}

// openSecret reads the secret. Another one ends sessions: depots make new ones.
func (j *Journal) openSecret() error {
	path := filepath.Join(j.dir, SecretName)
	data, err := durable.ReadFile(path)
	switch {
	case err == nil && len(data) == len(j.secret):
		copy(j.secret, data)
	case err == nil || errors.Is(err, fs.ErrNotExist):
		if err := durable.Create(path, j.secret); err != nil {
			j.unwritten(err)
		}
	default:
		return err
	}
	return nil
}

// read takes what the lines say and counts the damaged ones.
func (j *Journal) read(data []byte) (damaged int, err error) {
	whole := bytes.LastIndexByte(data, '\n') + 1
	if !unfinished(data[whole:]) {
		damaged++
	}
	for text := range bytes.Lines(data[:whole]) {
		var l line
		switch {
		case !parseLine(bytes.TrimSuffix(text, []byte("\n")), &l):
			damaged++
			continue
		case l.Version > journalVersion:
			return 0, fmt.Errorf("%w (version %d, this one knows %d)", durable.ErrNewer, l.Version, journalVersion)
		}
		j.keep(l.Put)
	}
	return damaged, nil
}

// CheckJournal reads the journal in dir, which nobody writes, and tells of what is
// damaged. Nothing is changed. Without a file there is nothing wrong.
func CheckJournal(dir string, problem func(what string)) error {
	data, err := durable.ReadFile(filepath.Join(dir, JournalName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", JournalName, err)
	}
	j := &Journal{records: map[string]json.RawMessage{}}
	damaged, err := j.read(data)
	if err != nil {
		return fmt.Errorf("read %s: %w", JournalName, err)
	}
	if damaged > 0 {
		problem(fmt.Sprintf("%s: %d damaged lines: what they said of depots' identities is lost", JournalName, damaged))
	}
	return nil
}

// CheckLines refuses lines of a journal of which one is damaged.
func CheckLines(lines []byte) error {
	damaged, err := (&Journal{records: map[string]json.RawMessage{}}).read(lines)
	if err == nil && damaged > 0 {
		err = fmt.Errorf("%w: %d lines: a start of the centre makes it anew of the others", durable.ErrDamaged, damaged)
	}
	return err
}

// parseLine reads a line, without its end, that formatLine made.
func parseLine(text []byte, into any) (ok bool) {
	sum, body, _ := bytes.Cut(text, []byte(" "))
	want, err := strconv.ParseUint(string(sum), 16, 32)
	return err == nil && crc32.Checksum(body, castagnoli) == uint32(want) && json.Unmarshal(body, into) == nil
}

// formatLine makes a line of a sum and JSON.
func formatLine(l any) ([]byte, error) {
	body, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(body, castagnoli), body), nil
}

func (j *Journal) keep(put map[string]json.RawMessage) {
	for name, doc := range put {
		j.live += int64(len(name) + len(doc) - len(j.records[name]))
		j.records[name] = doc
	}
}

// compact writes the records as they are into a new file, in the place of the old.
func (j *Journal) compact() error {
	var out bytes.Buffer
	first, err := formatLine(line{Version: journalVersion})
	if err != nil {
		return err
	}
	out.Write(first)
	for _, name := range slices.Sorted(maps.Keys(j.records)) {
		l, err := formatLine(line{Put: map[string]json.RawMessage{name: j.records[name]}})
		if err != nil {
			return err
		}
		out.Write(l)
	}
	if err := durable.Create(j.path(), out.Bytes()); err != nil {
		if j.f != nil && j.named() != nil { // the new one has its name by now
			j.drop()
		}
		return err
	}
	j.drop()
	f, err := durable.Open(j.path(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	j.f, j.size = f, int64(out.Len())
	return nil
}

// drop gives up a file that has lost its name: ready makes one of what is in memory.
func (j *Journal) drop() {
	if j.f != nil {
		_ = j.f.Close() // all in it was synced
		j.f = nil
	}
}

var errReplaced = errors.New("it was replaced while it was in use: stop the centre before a backup is put back, then start it")

// named is nil where the file that is written to is the one that a start reads.
func (j *Journal) named() error {
	own, err := j.f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(j.path())
	if err == nil && !os.SameFile(own, there) {
		err = errReplaced
	}
	return err
}

// Secret implements Store.
func (j *Journal) Secret(context.Context) ([]byte, error) { return j.secret, nil }

// View implements Store.
func (j *Journal) View(_ context.Context, fn func(Tx) error) error {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return fn(&tx{j: j})
}

// change is what one Update does.
type change struct {
	ctx  context.Context
	fn   func(Tx) error
	put  map[string]json.RawMessage
	err  error         // to be read once done
	done chan struct{} // closed when it is on disk, or is not to be
}

// maxGroup bounds how many changes are made before they are synced.
const maxGroup = 256

// Update implements Store. Changes come one by one; those that come while the disk
// is busy are written and synced together, by one who made them. Who waits no longer
// takes his change back, unless it is being written.
func (j *Journal) Update(ctx context.Context, fn func(Tx) error) error {
	c := &change{ctx: ctx, fn: fn, err: errUnfinished, done: make(chan struct{})}
	j.queue.Lock()
	j.waiting = append(j.waiting, c)
	j.queue.Unlock()
	for {
		select {
		case <-c.done:
			return c.err
		case j.writing <- struct{}{}:
			j.writeGroup()
		case <-ctx.Done():
			if j.takeBack(c) {
				return ctx.Err()
			}
			<-c.done
			return c.err
		}
	}
}

// errUnfinished is what a group ends with of which one change panics.
var errUnfinished = errors.New("identity: another change of the same group went wrong")

func (j *Journal) takeBack(c *change) bool {
	j.queue.Lock()
	defer j.queue.Unlock()
	i := slices.Index(j.waiting, c)
	if i >= 0 {
		j.waiting = slices.Delete(j.waiting, i, i+1)
	}
	return i >= 0
}

// writeGroup makes the changes that wait, in their order, and gives up its turn to
// write.
func (j *Journal) writeGroup() {
	j.queue.Lock()
	n := min(len(j.waiting), maxGroup)
	group := slices.Clone(j.waiting[:n])
	j.waiting = slices.Delete(j.waiting, 0, n)
	j.queue.Unlock()
	defer func() {
		for _, c := range group {
			close(c.done)
		}
		<-j.writing
	}()
	first, made := j.make(group)
	if len(made) == 0 {
		return
	}
	if err := j.write(made); err != nil {
		for _, c := range group[first:] { // later ones may have gone by what is not kept
			c.err = fmt.Errorf("write %s: %w", JournalName, err)
		}
		return
	}
	j.mu.Lock()
	for _, c := range made {
		c.err = nil
		j.keep(c.put)
	}
	j.mu.Unlock()
	if j.dir != "" && j.size > compactAbove && j.size > 4*j.live {
		if err := j.compact(); err != nil {
			j.log.Warn("rewrite the depots' identities", "file", JournalName, "error", err) // the old file goes on, if it has its name
		}
	}
}

// make runs a group's changes, each on what those before it put, and returns those
// that are to be written, of which first is the group's first.
func (j *Journal) make(group []*change) (first int, made []*change) {
	before := map[string]json.RawMessage{}
	for i, c := range group {
		t := &tx{j: j, before: before, put: map[string]json.RawMessage{}}
		err := cmp.Or(j.broken, c.ctx.Err())
		if err == nil {
			err = c.fn(t)
		}
		if err != nil || len(t.put) == 0 {
			c.err = err
			continue
		}
		if len(made) == 0 {
			first = i
		}
		c.put, made = t.put, append(made, c)
		maps.Copy(before, t.put)
	}
	return first, made
}

// write adds a line for each change, all or none of them.
func (j *Journal) write(made []*change) error {
	if j.dir == "" {
		return nil
	}
	var lines []byte
	for _, c := range made {
		l, err := formatLine(line{Put: c.put})
		if err != nil {
			return err
		}
		lines = append(lines, l...)
	}
	if err := j.ready(); err != nil {
		return err
	}
	if _, err := j.f.WriteAt(lines, j.size); err != nil {
		return errors.Join(err, j.f.Truncate(j.size)) // a part of them must not stay
	}
	if err := j.sync(j.f); err != nil {
		j.broken = fmt.Errorf("write %s: %w; restart the centre", JournalName, err)
		return err
	}
	switch err := j.named(); {
	case errors.Is(err, fs.ErrNotExist): // somebody took it away
		j.drop()
		return j.write(made)
	case errors.Is(err, errReplaced):
		j.broken = fmt.Errorf("write %s: %w", JournalName, err)
		return err
	case err != nil:
		return err
	}
	j.size += int64(len(lines))
	return nil
}

// Close closes the file.
func (j *Journal) Close() (err error) {
	j.writing <- struct{}{}
	defer func() { <-j.writing }()
	j.broken = cmp.Or(j.broken, fs.ErrClosed)
	if j.f != nil {
		err = j.f.Close()
		j.f = nil
	}
	if j.lock != nil {
		j.lock.Release()
		j.lock = nil
	}
	return err
}

// tx implements Tx on a Journal's records, which nobody else changes meanwhile.
type tx struct {
	j      *Journal
	before map[string]json.RawMessage // what changes before it, of the same group, put
	put    map[string]json.RawMessage // nil: reading only
}

// Names of records.
const (
	depotKind   = "depot/"
	ticketsName = "tickets"
)

// doc is a record as it is by now; nil: there is none.
func (t *tx) doc(name string) json.RawMessage {
	doc, ok := t.put[name]
	for _, under := range []map[string]json.RawMessage{t.before, t.j.records} {
		if !ok {
			doc, ok = under[name]
		}
	}
	return doc
}

func (t *tx) get(name string, into any) (ok bool, err error) {
	doc := t.doc(name)
	if doc == nil {
		return false, nil
	}
	if err := json.Unmarshal(doc, into); err != nil {
		return false, fmt.Errorf("read %s in %s: %w", name, JournalName, err)
	}
	return true, nil
}

func (t *tx) set(name string, v any) error {
	if t.put == nil {
		return errors.New("identity: put while only reading")
	}
	doc, err := json.Marshal(v)
	t.put[name] = doc
	return err
}

func (t *tx) Depot(id scan.DepotID) (*Registration, error) {
	var r Registration
	ok, err := t.get(depotKind+string(id), &r)
	if !ok {
		return nil, err
	}
	return &r, nil
}

func (t *tx) PutDepot(r *Registration) error { return t.set(depotKind+string(r.ID), r) }

func (t *tx) Tickets() (all map[string]Ticket, err error) {
	_, err = t.get(ticketsName, &all)
	return all, err
}

func (t *tx) PutTickets(all map[string]Ticket) error { return t.set(ticketsName, all) }

func (t *tx) Depots(each func(*Registration) error) error {
	names := slices.AppendSeq(slices.Collect(maps.Keys(t.j.records)), maps.Keys(t.before))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if id, ok := strings.CutPrefix(name, depotKind); ok {
			r, err := t.Depot(scan.DepotID(id))
			if err == nil {
				err = each(r)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
