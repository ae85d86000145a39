package journal

import (
	"iter"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/checkpoint"
	"scanrelay/store/crypt"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/handle"
	"scanrelay/store/marks"
	"scanrelay/store/register"
)

// Options of a journal. None has a default.
type Options struct {
	MaxSize     int64         // bytes of all segments together
	Retain      time.Duration // finished events are kept this long
	SegmentSize int64         // bytes of a new segment, at most
	MachineID   string        // a new epoch is taken where it is another; "": not compared
	Logger      *slog.Logger
	Now         func() time.Time
	Commit      func(*bolt.Tx) error // how a transaction is committed
	Thin        func(n int) error    // ends some events that wait for waybill data; it may wait for the writer
}

// Live is who knows of the events what is in memory only.
type Live interface {
	Watermark() uint64
	// Unfinished lists what is pending or dead up to a number, in no order; Dead
	// the dead letters, rising.
	Unfinished(upTo uint64) []uint64
	Dead() []uint64
	// Stands reports whether an event is pending, or a dead letter.
	Stands(seq uint64) (pending, dead bool)
	// Describe completes records of pending events.
	Describe(records []event.Record)
	// Attempt returns a note of how often a pending event was tried, and how long it
	// waits yet; false: nothing is known of that.
	Attempt(seq uint64) (n event.Note, ok bool)
	// ClaimDead takes a dead letter for one change; false: it is none, or somebody
	// has it.
	ClaimDead(seq uint64) bool
	UnclaimDead(seqs []uint64)
	// Senders is called before End.
	Senders(ending []event.Settlement) []event.Sent
	End(ended []event.Settlement, sent []event.Sent)
	// Waits counts what waits for waybill data, and all that is pending.
	Waits() (waiting, pending int)
}

// Journal is the row of segments, of which the newest is written to. Its methods
// may be called from any goroutine, but for those of the writer, which say so:
// one goroutine alone calls them.
type Journal struct {
	dir      string
	opts     Options
	readOnly bool
	keys     *crypt.Ring
	live     Live
	handles  handle.Pool
	spares   *format.Spares

	background sync.WaitGroup // registers being written
	stop       chan struct{}
	stopOnce   sync.Once
	marks      *marks.File
	checkpoint checkpoint.Keeper
	tasks      chan func() error
	clearing   atomic.Bool     // the oldest segment is being cleared aside
	mending    atomic.Bool     // a segment that waited for it is being rebuilt aside
	stirred    map[uint64]bool // what of it died or was put back meanwhile; the writer's
	crowded    bool            // dead letters take too much; the writer's
	epochDue   bool            // the next commit takes a new epoch; the writer's

	lost     iter.Seq[[]checkpoint.Lost] // how events ended that restore has to write; nil: none; the writer's
	foreseen map[uint64]event.Note       // what it will write at the next start; a reader's

	opening

	// mu guards what follows, and in each segment what it says there. The writer
	// alone changes it.
	mu       sync.RWMutex
	segments []*segment              // rising; the last one is written to
	carried  map[uint64]carriedEvent // events that live in a later segment than their number says
	state    format.State
	totals   format.Totals // of all segments, dropped ones included
}

// carriedEvent is where an event lives that was carried, and a keyed hash of its
// waybill.
type carriedEvent struct {
	segment *segment
	waybill uint64
	later   event.Later // what was stored after it for its waybill in segments that are gone
}

func newJournal(dir string, opts Options) *Journal {
	j := &Journal{
		dir: dir, opts: opts, carried: map[uint64]carriedEvent{},
		spares: &format.Spares{}, stop: make(chan struct{}), tasks: make(chan func() error), opening: opening{fresh: true},
	}
	j.checkpoint = j.newKeeper()
	return j
}

// list returns the segments at this moment, rising.
func (j *Journal) list() []*segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return slices.Clone(j.segments)
}

// after returns the first segment with a higher number, nil if there is none.
func (j *Journal) after(number uint64) *segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for _, s := range j.segments {
		if s.number > number {
			return s
		}
	}
	return nil
}

// find returns the segment that holds the event, nil if none can.
func (j *Journal) find(seq uint64) *segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.findLocked(seq)
}

func (j *Journal) findLocked(seq uint64) *segment {
	if c, ok := j.carried[seq]; ok {
		return c.segment
	}
	// The last one with first <= seq: one that got no events shares its first
	// number with the next.
	i := sort.Search(len(j.segments), func(i int) bool { return j.segments[i].first > seq })
	if i == 0 {
		return nil
	}
	return j.segments[i-1]
}

// carriedWhere lists the carried events that match, rising.
func (j *Journal) carriedWhere(match func(seq uint64, c carriedEvent) bool) (seqs []uint64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for seq, c := range j.carried {
		if match(seq, c) {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

// newest returns the segment that is written to, oldest the first one.
func (j *Journal) newest() *segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.segments[len(j.segments)-1]
}

func (j *Journal) oldest() *segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.segments[0]
}

func (j *Journal) append(s *segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segments = append(j.segments, s)
}

// lastIn returns the number of a segment's last event.
func (j *Journal) lastIn(s *segment) uint64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return s.last
}

// Holds reports whether an id is one of this outbox.
func (j *Journal) Holds(id event.ID) bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.findLocked(id.Seq) != nil && id.Seq < j.state.NextSeq && j.state.EpochOf(id.Seq) == id.Epoch
}

// NextSeq returns the number that comes next.
func (j *Journal) NextSeq() uint64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.NextSeq
}

// Resolve gives a clockless event its times, if its clock is known by now.
func (j *Journal) Resolve(e *scan.Event, seq uint64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	j.state.Resolve(e, seq)
}

// Begun returns a moment before an event was stored; zero: it is not known.
func (j *Journal) Begun(seq uint64) (t time.Time) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if s := j.findLocked(seq); s != nil {
		t = s.Begun
	}
	return t
}

// Cipher is that of a segment, or, under crypt.QuarantineKey, of the quarantine;
// nil: its key is gone.
func (j *Journal) Cipher(number uint64) *crypt.Cipher { return j.keys.Cipher(number) }

// Segment is what a segment is at a moment.
type Segment struct {
	Number      uint64
	Path        string
	First, Last uint64 // numbers of its events; First-1: it has none
	Notes       uint64
	Finished    time.Time // when the last of its events ended
	Rebuilt     bool      // at this start
	Register    *register.Register
}

// Segments lists the segments, rising. The last one is written to.
func (j *Journal) Segments() (list []Segment) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for _, s := range j.segments {
		list = append(list, Segment{s.number, s.Path, s.first, s.last, s.notes, s.Finished, s.rebuilt, s.register})
	}
	return list
}

// Totals are the counts of all segments, dropped ones included.
func (j *Journal) Totals() format.Totals {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.totals
}

// State returns what is known beside events and notes, at this moment.
func (j *Journal) State() *format.State {
	j.mu.RLock()
	st := j.state.Clone()
	j.mu.RUnlock()
	st.Watermark = j.live.Watermark()
	return st
}

// Wait waits for what is done aside.
func (j *Journal) Wait() { j.background.Wait() }

// Close waits for what is done aside and closes all files; reads that run end
// first.
func (j *Journal) Close() error {
	j.Wait()
	if n := len(j.segments); n > 0 {
		if newest := j.segments[n-1]; newest.register.Whole() {
			j.saveRegister(newest)
		}
	}
	var files []*handle.File
	for _, s := range j.list() {
		files = append(files, &s.File)
	}
	err := j.handles.Close(files)
	for _, s := range j.list() {
		s.register.Close()
	}
	return err
}

// Stop has what is done aside be given up.
func (j *Journal) Stop() { j.stopOnce.Do(func() { close(j.stop) }) }
