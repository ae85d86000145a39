package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"scanrelay/agent/scan"
)

// Store is the centre's waybill state. All methods may be called at once.
type Store interface {
	// ID names this store; it changes when the store is replaced and stays
	// when a backup of it is put back.
	ID(ctx context.Context) (string, error)

	// Merge takes one sync of one depot. When it returns nil everything in
	// it is on disk, and lookups see it. The same batch again gets the same
	// answers, but what it gained is told only once: a commit that has begun is
	// waited for though ctx ends. After an error the batch may or may not have
	// been taken: send it again.
	Merge(ctx context.Context, b Batch) (Merged, error)
	// Answers tells how events taken before stand now, one answer per ask.
	Answers(ctx context.Context, depot scan.DepotID, asks []Ask) ([]Answer, error)
	// Known returns what a push needs of those waybills that have data and that
	// the depot has scanned: others are none of its business. "" is no depot, and
	// sees all. Of a parcel it tells no more than that it is one.
	Known(ctx context.Context, depot scan.DepotID, ids []scan.WaybillID) ([]Known, error)
	// Import takes waybill data from the carrier; on disk when it returns
	// nil, but for the items that are refused, of which nothing is taken.
	Import(ctx context.Context, items []Import) (Imported, error)
	// Lookup returns one waybill with one read, a parcel's shipment with two;
	// false: never heard of. Where damage may have taken it, the error is
	// ErrDamaged until it is known again.
	Lookup(ctx context.Context, id scan.WaybillID) (Waybill, bool, error)

	// Forget removes some of what did not change for as long as r says:
	// waybills, answers, bindings. Call it until Done. Nothing goes that is
	// younger by this machine's clock, by what depots' events tell of theirs, or
	// by WeChat's; and where the time jumps, nothing goes for a day.
	Forget(ctx context.Context, r Retention) (Forgotten, error)
	// Depots returns what is known of each depot's numbering, by id.
	Depots(ctx context.Context) ([]Depot, error)
	// Depot is one of them, without a look at the others; false: there is none.
	Depot(ctx context.Context, id scan.DepotID) (Depot, bool, error)
	Stats(ctx context.Context) (Stats, error)
	// Health is nil while the store can be trusted, ErrFailed when the process
	// must end. It reads nothing from disk.
	Health(ctx context.Context) error
	// Wait returns when the store cannot be trusted any more, with the error
	// that Health gives from then on, or nil when ctx ends.
	Wait(ctx context.Context) error
	// Close ends the store's goroutines and files. What was answered is on
	// disk already.
	Close() error
}

// Bounds of what is stored.
const (
	MaxWaybillID = 64   // bytes
	MaxNodes     = 1000 // in one path; an event above is refused, see NodesOf
	MaxEpochs    = 16   // of a depot's numbering: the last to take an event
	MaxChildren  = 1000 // parcels of one waybill
	// MaxParcelNodes is how many nodes a path may have before a parcel's scan adds
	// none: the rest is for the waybill's own.
	MaxParcelNodes = MaxNodes / 2
)

// NodesOf is how many nodes a depot may have in a path in which all others have
// that many: half of what they leave, so that none can fill the path for all.
func NodesOf(others int) int { return (MaxNodes - others + 1) / 2 }

// BadID tells why a number can be no waybill's; "" if it can.
func BadID(id scan.WaybillID) string {
	switch {
	case id == "":
		return "waybill_id is missing"
	case len(id) > MaxWaybillID:
		return fmt.Sprintf("waybill_id is longer than %d bytes", MaxWaybillID)
	case !utf8.ValidString(string(id)) || strings.ContainsRune(string(id), 0):
		return "waybill_id is no text"
	}
	return ""
}

// Batch is one sync of one depot (uplink/README.md, The sync protocol).
type Batch struct {
	Depot   scan.DepotID
	Epoch   uint64
	NextSeq uint64  // the next number that the depot will give
	From    uint64  // the first number that Events covers
	Events  []Event // Seq strictly rising
	// Bindings are what the depot learned about receivers' phones.
	Bindings []Observation
}

// Event is one event of a batch.
type Event struct {
	Seq uint64
	// Muted events make no other late: their depot does not push them, or their
	// time is not believed.
	Muted bool
	// Refuse is why the caller wants it refused; "" if it is sound.
	Refuse string
	scan.Event
}

// Observation is what WeChat said about a waybill's receiver at a moment.
type Observation struct {
	Waybill scan.WaybillID
	Exist   bool
	At      time.Time
}

// Result is what became of an event.
type Result uint8

const (
	Taken     Result = iota + 1
	Late             // the fleet had a newer node already: path only
	Duplicate        // the same identity came under another number, of whatever epoch
	Refused          // it cannot be taken, see Reason
	Conflict         // another event came under the same number: nothing of the batch was merged
	Unknown          // asked for, never taken
)

// Answer is the answer to one event or ask.
type Answer struct {
	Result  Result
	Reason  string // of Refused, and of Late where a parcel was scanned
	HasData bool   // the waybill has waybill data
	// Epoch is the one under which the event came first, where it is another than the
	// one that it came under now; 0: it is not, or is not known.
	Epoch uint64
}

// Merged is the answer to a batch.
type Merged struct {
	// Have is the highest number taken of the batch's epoch. For an epoch
	// not seen yet it is that of the depot's newest epoch, as numbers go on
	// over epochs, but below NextSeq.
	Have uint64
	// Rewind: From lay above Have+1, no event was merged.
	Rewind bool
	// Lost: the depot was answered for numbers that this store does not have: it
	// was put back from a backup, and what was imported since is missing, too.
	Lost    bool
	Answers []Answer // one per event; none if Rewind
	Imported
	// Gaps are numbers found missing with this batch.
	Gaps []Gap
}

// Ask names an event by number and identity.
type Ask struct {
	Epoch   uint64
	Seq     uint64
	Waybill scan.WaybillID
	EventID string
}

// Import is waybill data from the carrier.
type Import struct {
	Waybill scan.WaybillID
	Data    scan.Waybill
	// Children are numbers on parcels of the waybill, besides those it has: their
	// scans become nodes of its path. None is taken back.
	Children []scan.WaybillID
}

// Imported is what taking waybill data came to. It is told once.
type Imported struct {
	// Gained are waybills that had no data before, and numbers that are known as
	// a parcel's now.
	Gained  []scan.WaybillID
	Refused []Refusal
}

// Refusal is why an item was not imported.
type Refusal struct {
	Item int
	Why  string
}

// Waybill is the snapshot's view of one waybill. It is shared: do not change it.
type Waybill struct {
	ID       scan.WaybillID
	Data     *scan.Waybill // nil: none
	Imported bool          // Data came from the carrier, not with a scan
	Nodes    []scan.PathNode
	Changed  time.Time
	// Life is where the present life of a reused number begins; zero in the first.
	Life time.Time
}

// Known is what a push needs to know about a waybill.
type Known struct {
	Waybill scan.WaybillID
	Data    scan.Waybill
	Binding *Binding // nil: nothing known
	Parcel  bool     // the number is a parcel's: nothing is pushed under it
}

// Binding is whether a phone is bound in WeChat, and since when that is known.
type Binding struct {
	Exist bool
	At    time.Time
}

// Gap is a run of numbers that never came.
type Gap struct {
	Depot    scan.DepotID
	Epoch    uint64
	From, To uint64 // both missing
}

// Depot is what is known of a depot's numbering.
type Depot struct {
	ID     scan.DepotID
	Epoch  uint64 // the one that took an event last
	Have   uint64 // of that epoch
	Events uint64 // taken in all epochs, late ones included
	At     time.Time
	Gaps   []Gap // of all epochs
}

// Retention says how long what does not change is kept.
type Retention struct {
	Keep   time.Duration
	WeChat time.Time // what WeChat's clock shows now; zero: not heard
}

// Forgotten tells what Forget removed.
type Forgotten struct {
	Waybills, Answers, Bindings int
	Done                        bool // all has been looked at once
}

// Stats is the store at one moment.
type Stats struct {
	Waybills  uint64 // merged ones
	Tail      uint64 // records taken and not merged yet
	FileBytes int64
	// Damage tells what a start or a read found broken, a line each.
	Damage []string
	// Missing is the length of the time whose imports are missing, as the store
	// was put back from a backup; Damage tells which time that is.
	Missing time.Duration
	// Blocked is why nothing can be written now, as the disk is full or read only;
	// "" if it can. Reads go on.
	Blocked string
	// Held is why Forget does not believe this machine's clock; "" if it does.
	Held string
}

// Sentinels that callers branch on.
var (
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("snapshot is closed")
	// ErrFailed: a sync to disk failed; the process must end, as what
	// the kernel shows of the file is not what is on disk.
	ErrFailed = errors.New("snapshot could not be synced to disk")
	// ErrDamaged: what was asked for cannot be read and is being mended; ask again.
	ErrDamaged = errors.New("this part of the snapshot is damaged")
	// ErrInUse: another process holds the data folder.
	ErrInUse = errors.New("data folder is in use by another central")
	// ErrNewer: a file was written by a newer scanrelay.
	ErrNewer = errors.New("written by a newer scanrelay")
)
