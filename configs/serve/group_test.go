package serve_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/configs/serve"
)

// untilStopped is a part that notes its end and returns err.
func untilStopped(order *[]string, name string, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		*order = append(*order, name)
		return err
	}
}

func TestPartsStopOneAfterTheOther(t *testing.T) {
	var order []string
	failed := errors.New("disk full")
	g := serve.NewGroup()
	g.Start("store", untilStopped(&order, "store", failed))
	g.Start("relays", untilStopped(&order, "relays", context.Canceled))
	g.Start("intake", untilStopped(&order, "intake", nil))
	if err := g.Stop(nil); !errors.Is(err, failed) || err.Error() != "stop store: disk full" {
		t.Errorf("stop: %v", err)
	}
	if !slices.Equal(order, []string{"intake", "relays", "store"}) {
		t.Errorf("stopped in the order %v", order)
	}
}

// A part that needs long may begin to end while those before it do; that is no fall.
func TestAPartMayEndAheadOfItsTurn(t *testing.T) {
	relaysEnd := make(chan struct{})
	g := serve.NewGroup()
	g.Start("relays", func(ctx context.Context) error { <-ctx.Done(); close(relaysEnd); return nil })
	g.Start("intake", func(ctx context.Context) error { <-ctx.Done(); <-relaysEnd; return nil })
	g.End("relays")
	if err := g.Stop(nil); err != nil {
		t.Error(err)
	}
	select {
	case f := <-g.Fell():
		t.Errorf("fell: %v", f)
	default:
	}
}

// Parts that each need long need that long together, not one after the other.
func TestPartsEndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve.NewGroup()
		for _, name := range []string{"http", "operators' http", "local socket"} {
			g.Start(name, func(ctx context.Context) error { <-ctx.Done(); time.Sleep(6 * time.Second); return nil })
		}
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, stop)
		began := time.Now()
		if err := g.Run(ctx); err != nil || time.Since(began) != time.Minute+6*time.Second {
			t.Errorf("after %v: %v, want no error after 1m6s", time.Since(began), err)
		}
	})
}

func TestAPartThatFallsIsTold(t *testing.T) {
	for want, end := range map[string]error{"relays ended by itself": nil, "relays: no memory": errors.New("no memory")} {
		g := serve.NewGroup()
		g.Start("intake", func(ctx context.Context) error { <-ctx.Done(); return nil })
		g.Start("relays", func(context.Context) error { return end })
		if err := <-g.Fell(); err.Error() != want || !errors.Is(err, end) && end != nil {
			t.Errorf("fell: %v, want %s", err, want)
		}
		if err := g.Stop(nil); err != nil {
			t.Errorf("what Fell told is told again: %v", err)
		}
	}
}

func TestAPartMayBeGivenUp(t *testing.T) {
	stuck := make(chan struct{})
	g := serve.NewGroup()
	g.Start("relays", func(context.Context) error { <-stuck; return errors.New("late") })
	err := g.Stop(func(name string, ended <-chan struct{}) {
		select {
		case <-ended:
			t.Errorf("%s has ended", name)
		default:
		}
	})
	if err != nil {
		t.Errorf("stop: %v", err)
	}
	close(stuck)
}
