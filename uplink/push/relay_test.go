package push

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/wait"
	"scanrelay/store/event"
	"scanrelay/uplink/policy"
	"scanrelay/uplink/shared"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/valve"
	"scanrelay/wechat"
)

// givenBack is an outbox that only takes leases back.
type givenBack struct {
	Outbox
	seqs []uint64
}

func (o *givenBack) Release(all ...event.Retry) error {
	for _, r := range all {
		o.seqs = append(o.seqs, r.Seq)
	}
	return nil
}

// wallClock is a shared.Clock.
type wallClock struct{ shared.Clock }

func (wallClock) Now() time.Time { return time.Now() }

// Workers end although the dispatcher, which counts what they finish, has ended
// before them.
func TestStopWithUncountedWork(t *testing.T) {
	out := &givenBack{}
	p := New(Config{
		Parts:  shared.Parts{Clock: wallClock{}, Metrics: metrics.NewSet(), Log: slog.New(slog.DiscardHandler)},
		Outbox: out, Concurrency: 1,
	})
	ended, end := context.WithCancel(t.Context())
	end()
	p.taking, p.calling, p.ending = ended, t.Context(), t.Context()
	p.work = make(chan item, 2)
	p.work <- item{rec: event.Record{ID: event.ID{Seq: 1}}} // a lease too old to call under: given back
	p.work <- item{rec: event.Record{ID: event.ID{Seq: 2}}}
	close(p.work)
	p.serve()
	if !slices.Equal(out.seqs, []uint64{1, 2}) {
		t.Errorf("given back were %v", out.seqs)
	}
}

// Outcomes are in a hurry while something may wait for a worker, and else not.
func TestOutcomesHurryWhileCrowded(t *testing.T) {
	for _, c := range []struct {
		window, busy, ready int
		want                bool
	}{
		{-1, 0, 1, false}, {-1, 3, 1, false}, {-1, 4, 0, false}, {-1, 4, 1, true},
		{1, 0, 1, false}, {1, 1, 0, true}, {1, 1, 1, true}, {0, 4, 0, false}, {0, 1, 0, false},
	} {
		d := dispatcher{Relay: &Relay{Config: Config{Concurrency: 4}}, busy: c.busy, ready: make([]item, c.ready)}
		if got := d.crowded(c.window); got != c.want {
			t.Errorf("window %d, %d of 4 busy, %d ready: %v", c.window, c.busy, c.ready, got)
		}
	}
}

// full is an outbox with one event that the gate ends, and no room for its outcome.
type full struct {
	Outbox
	settling chan struct{} // a try to settle
}

func (full) Lease(int, time.Duration) ([]event.Record, error) {
	return []event.Record{{ID: event.ID{Seq: 1}}}, nil
}
func (full) Waiting(int, uint64) ([]event.Record, error) { return nil, nil }
func (full) WakeEvents(...uint64)                        {}
func (full) Hurry(bool)                                  {}
func (full) Pushable() <-chan struct{}                   { return nil }
func (full) Due() (time.Time, bool)                      { return time.Time{}, false }
func (full) Release(...event.Retry) error                { return nil }
func (o full) Settle(ctx context.Context, _ []event.Settlement) error {
	select {
	case o.settling <- struct{}{}:
	default:
	}
	return event.ErrFull
}

// hung is an outbox whose reads hang.
type hung struct {
	full
	free chan struct{}
}

func (o hung) Lease(int, time.Duration) ([]event.Record, error) {
	<-o.free
	return nil, event.ErrClosed
}

// muting is a gate that ends the event without a question.
var muting = &policy.Gate{Actions: []scan.ActionType{scan.ActionSigned}}

// What looks at the relay sees that its dispatcher hangs, and that it does not while
// the store is full.
func TestAStuckDispatcherShows(t *testing.T) {
	for name, c := range map[string]struct {
		outbox func(free chan struct{}) Outbox
		gate   *policy.Gate
		stuck  time.Duration
	}{
		"full":                  {func(chan struct{}) Outbox { return full{} }, muting, 0},
		"full after a question": {func(chan struct{}) Outbox { return full{} }, &policy.Gate{MaxAge: 1 << 62, FreshFor: 1 << 62}, 0},
		"hung":                  {func(free chan struct{}) Outbox { return hung{free: free} }, muting, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var pulse wait.Pulse
				free, v := make(chan struct{}), valve.New()
				v.Offer(&syncapi.Token{Value: "t", Generation: "g", ExpiresIn: 7200})
				p := New(Config{
					Parts: shared.Parts{
						Clock: believed{}, Metrics: metrics.NewSet(), Log: slog.New(slog.DiscardHandler),
						Gate: c.gate, Answers: shared.NewAnswers(), Questions: shared.NewQuestions(),
					},
					Outbox: c.outbox(free), Valve: v, Concurrency: 1, Pulse: &pulse,
				})
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- p.Run(ctx) }()
				time.Sleep(time.Minute)
				for _, r := range p.Questions.TakeAsks(10) {
					p.Questions.Resolve(shared.Resolution{Seq: r.ID.Seq, Result: syncapi.Refused})
				}
				time.Sleep(9 * time.Minute)
				if got := pulse.Stuck(); got != c.stuck {
					t.Errorf("stuck for %v, want %v", got, c.stuck)
				}
				stop()
				close(free)
				<-ended
			})
		})
	}
}

// believed is a clock that is.
type believed struct{ wallClock }

func (believed) Believable() bool { return true }

// The dispatcher itself may be settling while the store is full; that must not hold
// the stop up.
func TestStopWhileTheStoreIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := full{settling: make(chan struct{}, 1)}
		v := valve.New()
		v.Offer(&syncapi.Token{Value: "t", Generation: "g", ExpiresIn: 7200})
		p := New(Config{
			Parts: shared.Parts{
				Clock: believed{}, Metrics: metrics.NewSet(), Log: slog.New(slog.DiscardHandler),
				Gate: muting, Answers: shared.NewAnswers(), Questions: shared.NewQuestions(),
			},
			Outbox: out, Valve: v, Concurrency: 1,
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		<-out.settling
		stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the stop takes longer than ten seconds")
			p.failed <- nil
		}
	})
}

// newer is an outbox in which a newer node of the waybill is known, if it can be
// read.
type newer struct {
	Outbox
	rec         event.Record
	err, errAll error
}

func (n newer) Newer(scan.WaybillID, uint64) (int64, bool, error) {
	return n.rec.Event.ActionTime, true, n.err
}

func (n newer) OfWaybills([]scan.WaybillID, int) ([]event.Record, error) {
	return []event.Record{n.rec}, n.errAll
}

// A history that cannot be read drops no node.
func TestStaleNeedsAHistory(t *testing.T) {
	now, odd := time.Now(), errors.New("odd")
	old := event.Record{ID: event.ID{Seq: 1}, Event: scan.Event{ActionTime: now.Unix() - 3600, ActionType: scan.ActionSigned}}
	later := old
	later.ID.Seq, later.Event.ActionTime = 2, now.Unix()
	for _, c := range []struct {
		actions []scan.ActionType
		outbox  newer
		want    bool
	}{
		{nil, newer{rec: later, errAll: odd}, true}, // it is not looked at
		{nil, newer{rec: later, err: odd}, false},
		{[]scan.ActionType{scan.ActionSigned}, newer{rec: later}, true},
		{[]scan.ActionType{scan.ActionTransport}, newer{rec: later}, false},
		{[]scan.ActionType{scan.ActionSigned}, newer{rec: later, errAll: odd}, false},
	} {
		d := dispatcher{Relay: &Relay{Config: Config{Parts: shared.Parts{Gate: &policy.Gate{Actions: c.actions}}, Outbox: c.outbox}}}
		if _, over := d.stale(old, now); over != c.want {
			t.Errorf("pushed are %v, read errors %v and %v: ended %v", c.actions, c.outbox.err, c.outbox.errAll, over)
		}
	}
}

// aPush is a WeChat that counts pushes.
type aPush struct {
	WeChat
	calls int
}

func (w *aPush) PathNotify(context.Context, secret.Text, wechat.Notification) (bool, error) {
	w.calls++
	return true, nil
}

// Who waits long for a token makes no call under a lease that may end before the
// answer, as another worker could push the same event then; nor on an answer of
// the centre that is too old, or was forgotten with the centre's store.
func TestWhatHeldBeforeAWait(t *testing.T) {
	for name, c := range map[string]struct {
		leased, answered time.Duration // before
		forgotten        bool
		calls            int
	}{
		"both fresh": {time.Second, time.Second, false, 1},
		"lease":      {leaseUse - 10*time.Second, time.Second, false, 0},
		"answer":     {time.Second, shared.AnswerLife - 10*time.Second, false, 0},
		"forgotten":  {time.Second, time.Second, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				we, v := &aPush{}, valve.New()
				p := New(Config{
					Parts: shared.Parts{
						Clock: wallClock{}, Metrics: metrics.NewSet(), Answers: shared.NewAnswers(), Bindings: shared.NewBindings(time.Hour, time.Hour),
					},
					WeChat: we, Valve: v, Concurrency: 1,
				})
				p.taking, p.calling = t.Context(), t.Context()
				p.Bindings.Learned(p.Bindings.Key(""), "", true)
				p.Answers.Tell("", scan.Waybill{})
				p.Answers.Taken("", 0)
				time.Sleep(c.answered)
				it := &item{leased: time.Now().Add(-c.leased)}
				time.AfterFunc(15*time.Second, func() {
					if c.forgotten {
						p.Answers.Clear()
					}
					v.Offer(&syncapi.Token{Value: "t", Generation: "g", ExpiresIn: 7200})
				})
				if d := p.deliver(t.Context(), it); we.calls != c.calls || (d.Next == policy.Hold) != (c.calls == 0) {
					t.Errorf("%d calls, next %v", we.calls, d.Next)
				}
			})
		})
	}
}
