package uplink

import (
	"context"
	"sync"

	"scanrelay/configs/secret"
	"scanrelay/configs/wait"
	"scanrelay/wechat"
)

// flights lets one userquery at a time run for a phone; the others take its
// answer.
type flights struct {
	mu  sync.Mutex
	out map[phoneKey]*flight
}

type flight struct {
	done    chan struct{} // closed when verdict is set
	verdict verdict
}

func newFlights() *flights { return &flights{out: make(map[phoneKey]*flight)} }

// join returns the flight for k, and whether the caller leads it.
func (f *flights) join(k phoneKey) (fl *flight, lead bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl, ok := f.out[k]; ok {
		return fl, false
	}
	fl = &flight{done: make(chan struct{})}
	f.out[k] = fl
	return fl, true
}

func (f *flights) land(k phoneKey, fl *flight, v verdict) {
	f.mu.Lock()
	delete(f.out, k)
	f.mu.Unlock()
	fl.verdict = v
	close(fl.done)
}

// bound finds out whether the receiver's phone is bound: nextGoOn if it is.
// userquery is called only where nothing is known.
func (p *pusher) bound(ctx context.Context, it *item, k phoneKey) verdict {
	if exist, ok := p.bindings.get(k); ok {
		return judgeSuccess(answer{api: wechat.APIUserQuery, exist: exist})
	}
	fl, lead := p.flights.join(k)
	if !lead {
		select {
		case <-fl.done:
			return p.follow(ctx, it, k, fl.verdict)
		case <-ctx.Done():
			return verdict{next: nextHold}
		}
	}
	v := p.call(ctx, it, wechat.APIUserQuery, func(ctx context.Context, t secret.Text) (bool, error) {
		exist, err := p.wechat.UserQuery(ctx, t, it.data.Receiver.Phone.Reveal())
		if err == nil {
			p.bindings.learned(k, it.rec.Event.Waybill, exist)
		}
		return exist, err
	})
	p.flights.land(k, fl, v)
	return v
}

// follow uses the answer that another event of the same phone got. A refusal of
// that event alone is none of ours: ask ourselves.
func (p *pusher) follow(ctx context.Context, it *item, k phoneKey, v verdict) verdict {
	if v.class == wechat.Success {
		return v
	}
	if v.next == nextSettle || v.class == wechat.Mismatch || v.class == wechat.Unknown {
		return p.bound(ctx, it, k)
	}
	if v.next == nextRetry {
		it.tried = true
		v.delay = wait.Jitter(it.rec.Attempts, transientBase, transientCap)
	}
	return v
}
