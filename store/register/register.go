package register

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"
	"sync"

	"scanrelay/agent/scan"
)

// Register says which events of one segment are of a waybill, without reading
// them. It knows each event by a tag and its slot, which is how far it is behind
// the segment's first: the tag is the first 40 bits of a MAC of the waybill
// number under a key derived from the segment's, so it tells nothing without
// that and goes with it. Two waybills may share a tag by chance: whoever reads
// the event sees.
//
// What came since the start is in memory; a sealed segment's register is a file.
// Neither is what anything is kept in: both can be made again of the segment,
// and are, when somebody asks for what they lack (Filler).
type Register struct {
	path string
	mac  func() hash.Hash // behind a function, since fmt would print its key

	saving sync.Mutex // held while the file is written
	closed bool       // guarded by saving

	mu     sync.Mutex
	file   *file      // has the slots below file.upTo; nil: none
	from   uint64     // the runs have all slots from here on
	end    uint64     // and below here
	recent []uint64   // the latest, as they came
	runs   [][]uint64 // each rising, each longer than the next
}

const (
	tagBits  = 40
	slotMask = 1<<(64-tagBits) - 1
	// recentLen is how many of the latest are looked through one by one.
	recentLen = 512
)

// Purpose is what the key of a register's MAC is derived for.
const Purpose = "scanrelay register"

// New makes the register of a segment that has the slots below end. mac is keyed
// for this register.
func New(path string, mac hash.Hash, end uint64) *Register {
	return &Register{path: path, mac: func() hash.Hash { return mac }, from: end, end: end}
}

// Open takes the file if there is a right one, of the segment with a number. One
// that has more than the segment is of a transaction that was lost, and must not
// stay: it would pass for right once the segment has as many other events.
func (r *Register) Open(number uint64) {
	f, err := openFile(r.path, number)
	if err != nil {
		return // whatever is wrong with it: it is made again
	}
	if f.upTo > r.end {
		f.close()
		return
	}
	r.file = f
}

// Saved reports whether the register has a file.
func (r *Register) Saved() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.file != nil
}

// tagLocked returns a waybill's tag, above the bits of a slot.
func (r *Register) tagLocked(waybill []byte) uint64 {
	var sum [sha256.Size]byte
	mac := r.mac()
	mac.Reset()
	mac.Write(waybill) // never fails
	return binary.BigEndian.Uint64(mac.Sum(sum[:0])) &^ slotMask
}

// Append adds the event of the next slot.
func (r *Register) Append(waybill scan.WaybillID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recent = append(r.recent, r.tagLocked([]byte(waybill))|r.end)
	r.end++
	if len(r.recent) < recentLen {
		return
	}
	slices.Sort(r.recent)
	r.pushLocked(slices.Clone(r.recent))
	r.recent = r.recent[:0]
}

// pushLocked adds a run, and merges those that are not much longer: there are
// never more than the logarithm of what they hold.
func (r *Register) pushLocked(run []uint64) {
	for n := len(r.runs); n > 0 && len(r.runs[n-1]) < 2*len(run); n-- {
		run = merge(r.runs[n-1], run)
		r.runs = r.runs[:n-1]
	}
	r.runs = append(r.runs, run)
}

func merge(a, b []uint64) []uint64 {
	out := make([]uint64, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] < b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// Whole reports whether nothing is lacking.
func (r *Register) Whole() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	from, to := r.lacksLocked()
	return from == to
}

// lacksLocked returns the slots that neither the file nor memory has, from and
// below.
func (r *Register) lacksLocked() (from, to uint64) {
	if r.file != nil {
		from = r.file.upTo
	}
	return min(from, r.from), r.from
}

// Filler collects what a register lacks: the slots in [From, To).
type Filler struct {
	From, To uint64
	r        *Register
	entries  []uint64
}

// Filler returns one; nil if nothing is lacking.
func (r *Register) Filler() *Filler {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, to := r.lacksLocked()
	if from == to {
		return nil
	}
	return &Filler{From: from, To: to, r: r}
}

// Add takes one event.
func (f *Filler) Add(slot uint64, waybill []byte) {
	if slot >= f.To {
		return
	}
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.entries = append(f.entries, f.r.tagLocked(waybill)|slot)
}

// Done gives the register what was collected, unless somebody else did.
func (f *Filler) Done() {
	slices.Sort(f.entries)
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if from, to := f.r.lacksLocked(); from < to && to == f.To {
		f.r.from = f.From
		f.r.pushLocked(f.entries)
	}
}

// Find lists the slots of the waybills' events. ErrDamaged: the file is no good.
func (r *Register) Find(ids []scan.WaybillID) (slots []uint64, err error) {
	tags := make([]uint64, len(ids))
	r.mu.Lock()
	for i, id := range ids {
		tags[i] = r.tagLocked([]byte(id))
		slots = r.inMemoryLocked(tags[i], slots)
	}
	file := r.file
	r.mu.Unlock()
	if file == nil {
		return slots, nil
	}
	for _, tag := range tags {
		if slots, err = file.find(tag, slots); err != nil {
			return nil, err
		}
	}
	return slots, nil
}

func (r *Register) inMemoryLocked(tag uint64, slots []uint64) []uint64 {
	for _, e := range r.recent {
		if e&^slotMask == tag {
			slots = append(slots, e&slotMask)
		}
	}
	for _, run := range r.runs {
		i, _ := slices.BinarySearch(run, tag)
		for ; i < len(run) && run[i]&^slotMask == tag; i++ {
			slots = append(slots, run[i]&slotMask)
		}
	}
	return slots
}

// Save writes all of a register to its file, and forgets what it has in memory of
// that. What lacks something, since a file was given up meanwhile, is not saved:
// the file would pass for whole.
func (r *Register) Save(number uint64) error {
	r.saving.Lock()
	defer r.saving.Unlock()
	if r.closed {
		return nil
	}
	r.mu.Lock()
	old, end := r.file, r.end
	from, to := r.lacksLocked()
	if from < to || old != nil && old.upTo == end {
		r.mu.Unlock()
		return nil
	}
	all := slices.Clone(r.recent)
	for _, run := range r.runs {
		all = append(all, run...)
	}
	r.mu.Unlock()
	if old != nil {
		kept, err := old.all()
		if err != nil {
			return err
		}
		all = append(all, kept...)
	}
	slices.Sort(all)
	if err := Write(r.path, number, end, all); err != nil {
		return err
	}
	file, err := openFile(r.path, number)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.file, r.from, r.recent, r.runs = file, end, nil, nil
	r.mu.Unlock()
	return nil // somebody may still read the old file; it is closed once nobody does
}

// Discard gives the file up; its slots are lacking then. Somebody may still read
// it, who would take a closed one for that of a segment that is gone: it is closed
// once nobody does.
func (r *Register) Discard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.file = nil
}

// Close closes the file. None is written any more: it would outlive its segment.
func (r *Register) Close() {
	if r == nil {
		return
	}
	r.saving.Lock() // whoever is writing it ends first
	defer r.saving.Unlock()
	r.closed = true
	r.mu.Lock()
	defer r.mu.Unlock()
	r.file.close()
}

// roomShare is the part of a segment that its register takes where an event has 256
// bytes of it, with what is kept for its outcome.
const roomShare = 32

// Room is what the register of a segment of so many bytes comes to.
func Room(segment int64) int64 { return segment / roomShare }

// Beside is how large a segment may be that has its register within so many bytes.
func Beside(bytes int64) int64 { return bytes / (roomShare + 1) * roomShare }

// Pending is by how much the file will grow, or come to, for the slots that there are now.
func (r *Register) Pending() int64 {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	whole := file{count: r.end}
	if r.file == nil {
		return whole.size()
	}
	return max(0, whole.size()-r.file.size())
}

// Bytes is what the file takes.
func (r *Register) Bytes() int64 {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return 0
	}
	return r.file.size()
}
