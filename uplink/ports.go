package uplink

import (
	"context"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// Outbox is what the relays need of the store; *store.Outbox has it. Each
// relay sees only the part it uses.
type Outbox interface {
	Journal
	Epochs
	Waits
	Leaser
	Settler
	History
	Counts() store.Counts
}

// Journal is the outbox as the sync relay drains it.
type Journal interface {
	// Unsynced returns records after the watermark in sequence order, at most
	// max and about maxBytes.
	Unsynced(max, maxBytes int) ([]store.Record, error)
	// Arrived receives when something new is unsynced.
	Arrived() <-chan struct{}
	// Synced lifts the watermark to upTo. In the same commit ended events get
	// their outcome; waiting ones begin to wait for waybill data, the others
	// can be leased.
	Synced(upTo uint64, ended []store.Settlement, waiting []uint64) error
}

// Epochs moves the watermark back and begins a new epoch.
type Epochs interface {
	Rewind(have uint64) error
	NewEpoch(why string) error
}

// Waits is the outbox's view of waybills without data.
type Waits interface {
	// Waiting returns records that wait for data, in sequence order, after the
	// given number; none: there are no more.
	Waiting(max int, after uint64) ([]store.Record, error)
	// Wake makes all records of the waybills leasable.
	Wake(ids ...scan.WaybillID) error
	// WakeEvents makes these leasable.
	WakeEvents(seqs ...uint64)
}

// Leaser hands records to the push relay.
type Leaser interface {
	// Lease claims up to max records that are due, at most one of each
	// waybill, until they are settled, released, parked or ttl is over.
	Lease(max int, ttl time.Duration) ([]store.Record, error)
	// Due is when the next record becomes due.
	Due() (time.Time, bool)
	// Pushable receives when there may be something to lease.
	Pushable() <-chan struct{}
}

// Settler ends leases.
type Settler interface {
	// Settle commits outcomes; at return they are durable. ErrNotLeased: some
	// were not leased any more, the others are settled.
	Settle(ctx context.Context, s []store.Settlement) error
	// Release gives leases back, each due at its At.
	Release(r ...store.Retry) error
	// Park gives leases back to wait for waybill data.
	Park(records ...store.Record) error
}

// History looks at a waybill's records.
type History interface {
	// OfWaybills returns all records of the waybills in sequence order. How
	// finished ones ended is not among it.
	OfWaybills(ids []scan.WaybillID, max int) ([]store.Record, error)
	// Newer returns the newest action_time among the waybill's known records
	// with a higher number.
	Newer(waybill scan.WaybillID, seq uint64) (int64, bool, error)
}

// Centre is the centre as the sync relay calls it; *syncapi.Client is one.
type Centre interface {
	Sync(ctx context.Context, r *syncapi.Request) (*syncapi.Response, syncapi.Exchange, error)
}

// WeChat is WeChat as the push relay calls it; *wechat.Client is one. Both
// calls bound their own time.
type WeChat interface {
	UserQuery(ctx context.Context, token secret.Text, phone string) (exist bool, err error)
	PathNotify(ctx context.Context, token secret.Text, n wechat.Notification) (exist bool, err error)
}

// Clock is the gateway's clock. While it is not believable nothing is synced or
// pushed (design.md section 2, Clock rule).
type Clock interface {
	Now() time.Time
	Believable() bool
	// Heard tells the centre's clock as it was a moment ago, off by at most
	// about slack.
	Heard(centre time.Time, slack time.Duration)
}
