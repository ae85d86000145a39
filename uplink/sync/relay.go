package sync

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/event"
	"scanrelay/uplink/shared"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
	"scanrelay/uplink/syncapi/health"
)

const (
	idleSync     = 5 * time.Second      // an idle agent syncs this often
	soonSync     = time.Second          // when something waits that is not urgent
	batchDelay   = 5 * time.Millisecond // lets scans that come together go together
	syncBase     = time.Second          // between calls that fail
	syncCap      = 30 * time.Second
	unsettledCap = 5 * time.Minute // between corrections of the numbering that never settle
	denyBase     = 5 * time.Second // at least, when the centre does not accept our credential
)

// Outbox is what the relay needs of the outbox; *store.Outbox has it.
type Outbox interface {
	Drain
	Waiter
	// Rewind moves the watermark back.
	Rewind(have uint64) error
	// NewEpoch begins a new epoch, under which what is unsynced is sent.
	NewEpoch(why string) error
	// OfWaybills returns all records of the waybills in sequence order.
	OfWaybills(ids []scan.WaybillID, max int) ([]event.Record, error)
	Counts() event.Counts
}

// Drain empties the outbox up to its watermark.
type Drain interface {
	// Unsynced returns records after the watermark in sequence order, at most
	// max and about maxBytes.
	Unsynced(max, maxBytes int) ([]event.Record, error)
	// Arrived receives when something new is unsynced.
	Arrived() <-chan struct{}
	// Synced lifts the watermark to upTo. In the same commit ended events get
	// their outcome; waiting ones begin to wait for waybill data, the others
	// can be leased.
	Synced(upTo uint64, ended []event.Settlement, waiting []uint64) error
}

// Waiter keeps what waits for waybill data.
type Waiter interface {
	// Waiting returns waiting records in sequence order, after the given
	// number; none: there are no more.
	Waiting(max int, after uint64) ([]event.Record, error)
	// Wake makes all records of the waybills leasable.
	Wake(ids ...scan.WaybillID) error
}

// Centre is the centre; *syncapi.Client is one.
type Centre interface {
	Sync(ctx context.Context, r *syncapi.Request) (*syncapi.Response, error)
}

// Valve is what the push relay's calls go through.
type Valve interface {
	Offer(*syncapi.Token)
	SetRate(perSecond float64)
	// BadToken is the generation of a token that WeChat refused; "" if none.
	BadToken() string
	// Accepted is the generation of the token that WeChat took last, and how long
	// ago; "" before the first.
	Accepted() (generation string, age time.Duration)
}

// Orders are what operators at the centre want done, or to know. Neither method waits.
type Orders interface {
	// Take hears all that is wanted.
	Take(resp *syncapi.Response)
	// Tell says what is done of it, and what is known.
	Tell(req *syncapi.Request)
}

// Fleet is the agent's part in what the centre wants of it beside taking its events. Its
// methods must not block.
type Fleet interface {
	// Tell adds what is said of versions and configuration.
	Tell(*syncapi.Request)
	// Heard takes what an answer wants, which may be nil, and the centre's time, zero
	// where it gave none.
	Heard(*directive.Directives, time.Time)
}

// Config is what the relay is made of.
type Config struct {
	shared.Parts
	Centre   Centre
	Outbox   Outbox
	Valve    Valve
	Version  string                // scanrelay's, told to the centre
	Health   func() *health.Report // told to the centre; nil: nothing is
	Orders   Orders                // nil: none are taken
	Fleet    Fleet                 // nil: the centre wants nothing of this agent
	Rate     float64               // notify.rate; 0: the centre's share alone
	Spread   time.Duration         // bounds the random wait before the first call
	OnSynced func([]event.Record)
	Pulse    *wait.Pulse // nil: nobody looks at it
}

// Relay is the sync relay. Only its own goroutine uses the fields below oldest.
type Relay struct {
	Config
	meters *meters
	status atomic.Pointer[Status]
	oldest atomic.Int64 // received_at of the oldest unsynced event, unix nanoseconds; 0: none

	declarations declarations
	narrow       narrowing
	buried       buried
	pace         *backoff.ExponentialBackOff // of calls that fail
	storeID      string                      // of the centre's last answer
	soon         bool                        // the centre wants another sync
	moves        int                         // corrections of the numbering since it was settled
	moved        time.Time                   // when the last one was made
	unsettled    *backoff.ExponentialBackOff // of corrections above maxMoves
}

// New makes the relay.
func New(c Config) *Relay {
	s := &Relay{Config: c, pace: wait.Pace(syncBase, syncCap), unsettled: wait.Pace(syncBase, unsettledCap)}
	s.declarations = declarations{outbox: c.Outbox, questions: c.Questions, log: c.Log}
	s.meters = newMeters(c.Metrics, s.lag)
	s.status.Store(&Status{})
	c.Valve.SetRate(c.Rate)
	return s
}

// Run syncs until ctx ends or the outbox fails. The error is nil after a stop.
func (s *Relay) Run(ctx context.Context) error {
	wait.Sleep(ctx, wait.UpTo(s.Spread))
	for ctx.Err() == nil {
		s.Pulse.Begin()
		more, err := s.turn(ctx)
		s.Pulse.End()
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, event.ErrClosed), errors.Is(err, event.ErrFailed):
			return err
		case err != nil:
			wait.Sleep(ctx, s.failed(err))
		case !more:
			s.wait(ctx)
		}
	}
	return nil
}

// turn makes one call with what there is to say; more is true when there is
// more to say at once.
func (s *Relay) turn(ctx context.Context) (more bool, err error) {
	b, err := s.build()
	if err != nil {
		return false, err
	}
	resp, err := s.call(ctx, &b.req)
	if err != nil {
		return s.unheard(b, err)
	}
	if more, err = s.apply(b, resp); err != nil {
		return false, err
	}
	asks, resyncs, _ := s.Questions.Waiting()
	if resyncs {
		err = s.resync(ctx)
	}
	return more || asks, err
}

// call makes one call of the centre and takes from its answer what holds
// whatever else is in it.
func (s *Relay) call(ctx context.Context, req *syncapi.Request) (*syncapi.Response, error) {
	start := time.Now()
	resp, err := s.Centre.Sync(ctx, req)
	s.Pulse.End() // a turn may make several calls
	s.Pulse.Begin()
	e, took := asError(err), time.Since(start)
	if ctx.Err() == nil {
		s.meters.count(e, took)
	}
	if e != nil {
		if e.Directives != nil {
			s.heard(e.Directives, time.Time{})
		}
		return nil, e
	}
	s.contact(resp, took)
	s.heard(resp.Directives, time.Unix(resp.Time, 0))
	return resp, nil
}

// heard notes that the centre answered, and passes on what it wants.
func (s *Relay) heard(d *directive.Directives, at time.Time) {
	st := *s.status.Load()
	st.Contact = s.Clock.Now()
	s.status.Store(&st)
	s.soon = d != nil && d.SyncNow
	if s.Fleet != nil {
		s.Fleet.Heard(d, at)
	}
}

// asError is err as an *syncapi.Error; nil for nil.
func asError(err error) *syncapi.Error {
	var e *syncapi.Error
	if err != nil && !errors.As(err, &e) {
		e = &syncapi.Error{Err: err}
	}
	return e
}

// contact takes what every answer carries: the centre's clock, the token, the
// rate, the state of WeChat as the centre sees it.
func (s *Relay) contact(resp *syncapi.Response, took time.Duration) {
	s.Clock.Heard(time.Unix(resp.Time, 0), took+time.Second)
	st := *s.status.Load()
	st.LastSync, st.WeChat = s.Clock.Now(), resp.WeChat
	s.status.Store(&st)
	s.Valve.Offer(resp.Token)
	s.Valve.SetRate(lesser(resp.Rate, s.Rate))
	if s.Orders != nil {
		s.Orders.Take(resp)
	}
	if s.storeID != "" && s.storeID != resp.StoreID {
		s.Log.Warn("central has another store than before")
		s.Answers.Clear()
	}
	s.storeID = resp.StoreID
}

// lesser is the smaller of two rates, of which 0 or less means none.
func lesser(a, b float64) float64 {
	if a <= 0 || (b > 0 && b < a) {
		return b
	}
	return a
}

// failed notes a call that failed, and says how long to wait.
func (s *Relay) failed(err error) time.Duration {
	e := asError(err)
	reason, pause := e.Error(), time.Duration(0)
	if errors.Is(err, errUnsettled) {
		pause = s.unsettled.NextBackOff()
	} else {
		pause = s.pace.NextBackOff()
	}
	if e.Unauthorized() {
		reason = "central does not accept this depot's credential (" + reason + "); everything is kept"
		pause += denyBase
	}
	st := *s.status.Load()
	if st.Connected || st.Reason != reason {
		s.Log.Warn("central not reached", "reason", reason)
	}
	st.Connected, st.Reason = false, reason
	s.status.Store(&st)
	if e.RetryAfter > 0 {
		pause = max(pause, e.RetryAfter+wait.UpTo(e.RetryAfter/10))
	}
	return pause
}

// wait returns when there is something to say again, at the latest after the
// idle interval.
func (s *Relay) wait(ctx context.Context) {
	d := idleSync
	if s.declarations.pending() || s.soon {
		d = soonSync
	}
	idle := time.NewTimer(d)
	defer idle.Stop()
	arrived := s.Outbox.Arrived()
	if !s.Clock.Believable() {
		arrived = nil // nothing is synced before
	}
	select {
	case <-arrived:
		wait.Sleep(ctx, batchDelay)
	case <-s.Questions.Asked():
	case <-idle.C:
	case <-ctx.Done():
	}
}

// Status is how the centre stands.
type Status struct {
	Connected bool
	Reason    string             // why not connected; "" before the first try
	LastSync  time.Time          // zero: never
	Contact   time.Time          // last answer, if only one that says what is wanted; zero: never
	WeChat    syncapi.WeChatView // as the centre sees it
	Lag       time.Duration      // age of the oldest unsynced event
}

// Status may be called at any time.
func (s *Relay) Status() Status {
	st := *s.status.Load()
	st.Lag = s.lag()
	return st
}

// lag is the age of the oldest unsynced event.
func (s *Relay) lag() time.Duration {
	at := s.oldest.Load()
	if at == 0 {
		return 0
	}
	return max(0, s.Clock.Now().Sub(time.Unix(0, at)))
}
