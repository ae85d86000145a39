package push

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/wait"
	"scanrelay/store/event"
	"scanrelay/uplink/shared"
	"scanrelay/uplink/valve"
	"scanrelay/wechat"
)

// finishing is how long calls in flight may go on after a stop; settling how
// long their outcomes may take to be committed.
const (
	finishing = 8 * time.Second
	settling  = 9 * time.Second
)

// Outbox is what the relay needs of the outbox; *store.Outbox has it.
type Outbox interface {
	Leaser
	Settler
	Waiter
	History
}

// Leaser hands records out.
type Leaser interface {
	// Lease claims up to max records that are due, at most one of each
	// waybill, until they are settled, released, parked or ttl is over.
	Lease(max int, ttl time.Duration) ([]event.Record, error)
	// Due is when the next record becomes due.
	Due() (time.Time, bool)
	// Pushable receives when there may be something to lease.
	Pushable() <-chan struct{}
}

// Settler ends leases.
type Settler interface {
	// Settle commits outcomes; at return they are durable. ErrNotLeased: some
	// were not leased any more, the others are settled.
	Settle(ctx context.Context, s []event.Settlement) error
	// Hurry says whether outcomes are in a hurry, also those without any by
	// themselves, from now on.
	Hurry(on bool)
	// Release gives leases back, each due at its At.
	Release(r ...event.Retry) error
	// Park gives leases back to wait for waybill data.
	Park(records ...event.Record) error
}

// Waiter keeps what waits for waybill data.
type Waiter interface {
	// Waiting returns waiting records in sequence order, after the given
	// number; none: there are no more.
	Waiting(max int, after uint64) ([]event.Record, error)
	// WakeEvents makes some leasable.
	WakeEvents(seqs ...uint64)
}

// History looks at the depot's own records of a waybill.
type History interface {
	// OfWaybills returns all records of the waybills in sequence order. How
	// finished ones ended is not among it.
	OfWaybills(ids []scan.WaybillID, max int) ([]event.Record, error)
	// Newer returns the newest action_time among the waybill's known records
	// with a higher number.
	Newer(waybill scan.WaybillID, seq uint64) (int64, bool, error)
}

// WeChat is WeChat; *wechat.Client is one. Both calls bound their own time.
type WeChat interface {
	UserQuery(ctx context.Context, token secret.Text, phone string) (exist bool, err error)
	PathNotify(ctx context.Context, token secret.Text, n wechat.Notification) (exist bool, err error)
}

// Config is what the relay is made of.
type Config struct {
	shared.Parts
	Outbox      Outbox
	WeChat      WeChat
	Valve       *valve.Valve
	Concurrency int // workers
	// Pulse is the dispatcher's, Calls that of all calls of WeChat; nil: nobody
	// looks at it.
	Pulse, Calls *wait.Pulse
}

// Relay is the push relay.
type Relay struct {
	Config
	meters  *meters
	queries singleflight.Group // userqueries by phone

	taking  context.Context // ends when no new call may begin
	calling context.Context // ends when calls are abandoned
	ending  context.Context // ends when outcomes are given up
	failed  chan error      // cap 1: the outbox failed for good
	work    chan item
	done    chan struct{}
}

// New makes the relay.
func New(c Config) *Relay {
	return &Relay{
		Config: c, meters: newMeters(c.Metrics), failed: make(chan error, 1),
		work: make(chan item), done: make(chan struct{}, c.Concurrency),
	}
}

// Run pushes until ctx ends or the outbox fails; it is called once. When it
// returns no call is in flight, what was answered is settled and all leases are
// given back.
func (p *Relay) Run(ctx context.Context) error {
	taking, stop := context.WithCancel(ctx)
	defer stop()
	calling, abandon := after(taking, finishing)
	defer abandon()
	ending, giveUp := after(taking, settling)
	defer giveUp()
	p.taking, p.calling, p.ending = taking, calling, ending

	var workers sync.WaitGroup
	for range p.Concurrency {
		workers.Go(p.serve)
	}
	workers.Go(p.sweep)
	d := dispatcher{Relay: p, asking: make(map[uint64]item), mayLease: true}
	err := d.run(taking)
	stop()
	p.Outbox.Hurry(true) // nobody waits for the workers but the stop
	close(p.work)
	d.giveBack()
	workers.Wait()
	return err
}

// after returns a context that ends d after ctx has.
func after(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(d, end) })
	return later, end
}

// window is how many records may be under way: 0 until a moment, 1, or any (-1).
func (p *Relay) window() (int, time.Time) {
	if !p.Clock.Believable() {
		return 0, time.Now().Add(time.Second)
	}
	return p.Valve.Window()
}

const (
	sweepEvery = time.Minute
	sweepPage  = 2000
	sweepPages = 50
)

// sweep looks every minute for events that expired while they waited for waybill
// data, and wakes them for the gate to end them. They expire in sequence order
// for the most part, so it looks from the start as long as it finds some, and
// beside that through the rest, a page each time. It rests while events cannot
// be judged.
func (p *Relay) sweep() {
	rest := uint64(0) // where the page beside the front begins
	for wait.Sleep(p.taking, sweepEvery) {
		if window, _ := p.window(); window == 0 {
			continue
		}
		front := uint64(0)
		for range sweepPages {
			last, due := p.wakeExpired(front)
			if front = last; due == 0 || last == 0 {
				break
			}
		}
		rest, _ = p.wakeExpired(max(rest, front))
	}
}

// wakeExpired looks at one page after a number. It returns the last number of
// the page, 0 if there are no more behind it, and how many had expired.
func (p *Relay) wakeExpired(after uint64) (last uint64, due int) {
	page, err := p.Outbox.Waiting(sweepPage, after)
	if err != nil {
		p.Log.Error("look for expired events that wait, trying again", "error", err)
		return 0, 0
	}
	var expired []uint64
	for _, r := range page {
		if p.Gate.Expired(r, p.Today()) {
			expired = append(expired, r.ID.Seq)
		}
	}
	p.Outbox.WakeEvents(expired...)
	if len(page) == sweepPage {
		last = page[len(page)-1].ID.Seq
	}
	return last, len(expired)
}
