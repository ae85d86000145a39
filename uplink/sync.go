package uplink

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store"
	"scanrelay/uplink/syncapi"
)

const (
	idleSync  = 5 * time.Second      // an idle agent syncs this often
	soonSync  = time.Second          // when something waits that is not urgent
	linger    = 5 * time.Millisecond // lets scans that come together go together
	denyBase  = 5 * time.Second      // at least, when the centre does not accept our credential
	maxBatch  = 1000                 // events in one call
	maxBytes  = 1 << 20              // of them, about
	maxAsk    = 500
	maxExtras = 2000 // bindings and declarations each
	maxPath   = 1000 // nodes of one waybill, as central keeps
)

// syncer is the sync relay. Only its own goroutine uses the fields below batch.
type syncer struct {
	centre Centre
	outbox interface {
		Journal
		Epochs
		History
		Counts() store.Counts
	}
	clock    Clock
	gate     *gate
	answers  *answers
	bindings *bindings
	tokens   *tokens
	valve    *valve
	waits    *waits
	desk     *desk
	meters   *meters
	log      *slog.Logger
	version  string
	limit    float64 // notify.rate; 0: none
	spread   time.Duration
	onSynced func([]store.Record)
	onEnded  func(store.Record)

	view   centreView
	oldest atomic.Int64 // received_at of the oldest unsynced event, unix nanoseconds; 0: none

	narrow  narrowing
	spacing wait.Backoff // of calls that fail
	storeID string       // of the centre's last answer
	moves   int          // corrections of the numbering in a row
}

// centreView is how the centre stands, for Status.
type centreView struct {
	mu        sync.Mutex
	connected bool
	lastSync  time.Time // wall time
	reason    string    // why not connected
	offset    time.Duration
	wechat    syncapi.WeChatView
}

// run syncs until ctx ends or the outbox fails.
func (s *syncer) run(ctx context.Context) error {
	wait.Sleep(ctx, wait.UpTo(s.spread))
	for ctx.Err() == nil {
		more, err := s.turn(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrFailed) {
			return err
		}
		switch {
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
func (s *syncer) turn(ctx context.Context) (more bool, err error) {
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
	asks, resyncs := s.desk.waiting()
	if resyncs {
		err = s.resync(ctx)
	}
	return more || asks, err
}

// call makes one call of the centre and takes from its answer what holds
// whatever else is in it.
func (s *syncer) call(ctx context.Context, req *syncapi.Request) (*syncapi.Response, error) {
	resp, x, err := s.centre.Sync(ctx, req)
	var e *syncapi.Error
	if err != nil && !errors.As(err, &e) {
		e = &syncapi.Error{Err: err}
	}
	if ctx.Err() == nil {
		s.meters.sync(e, x.Took)
	}
	if e != nil {
		return nil, e
	}
	s.contact(resp, x)
	return resp, nil
}

// contact takes what every answer carries: the centre's clock, the token, the
// rate, the state of WeChat as the centre sees it.
func (s *syncer) contact(resp *syncapi.Response, x syncapi.Exchange) {
	s.spacing.Reset()
	centre := time.Unix(resp.Time, 0)
	s.clock.Heard(centre, x.Took+time.Second)
	now := s.clock.Now()
	s.view.mu.Lock()
	if !s.view.connected {
		s.log.Info("central reached")
	}
	s.view.connected, s.view.reason, s.view.lastSync = true, "", now
	s.view.offset = now.Sub(centre).Truncate(time.Second)
	s.view.wechat = resp.WeChat
	s.view.mu.Unlock()
	s.tokens.offer(resp.Token)
	s.valve.setRate(lesser(resp.Rate, s.limit))
	if s.storeID != "" && s.storeID != resp.StoreID {
		s.log.Warn("central has another store than before")
		s.answers.clear()
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
func (s *syncer) failed(err error) time.Duration {
	var e *syncapi.Error
	if !errors.As(err, &e) {
		e = &syncapi.Error{Err: err}
	}
	reason := e.Error()
	if e.Unauthorized() {
		reason = "central does not accept this depot's credential (" + reason + "); everything is kept"
	}
	s.view.mu.Lock()
	changed := s.view.connected || s.view.reason != reason
	s.view.connected, s.view.reason = false, reason
	s.view.mu.Unlock()
	if changed {
		s.log.Warn("central not reached", "reason", reason)
	}
	d := s.spacing.Next()
	if e.Unauthorized() {
		d += denyBase
	}
	if e.RetryAfter > 0 {
		d = max(d, e.RetryAfter+wait.UpTo(e.RetryAfter/10))
	}
	return d
}

// wait returns when there is something to say again, at the latest after the
// idle interval.
func (s *syncer) wait(ctx context.Context) {
	d := idleSync
	if s.waits.pending() {
		d = soonSync
	}
	idle := time.NewTimer(d)
	defer idle.Stop()
	arrived := s.outbox.Arrived()
	if !s.clock.Believable() {
		arrived = nil // nothing is synced before
	}
	select {
	case <-arrived:
		wait.Sleep(ctx, linger)
	case <-s.desk.asked:
	case <-idle.C:
	case <-ctx.Done():
	}
}

// lag is the age of the oldest unsynced event in seconds.
func (s *syncer) lag() float64 {
	at := s.oldest.Load()
	if at == 0 {
		return 0
	}
	return max(0, s.clock.Now().Sub(time.Unix(0, at)).Seconds())
}
