package postgres_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/snapshottest"
)

// pair is two processes' stores in one database, of which each call gets one by
// chance. What is not here is asked of the first.
type pair struct {
	snapshot.Store
	second snapshot.Store
}

func (p *pair) one() snapshot.Store {
	if rand.IntN(2) == 0 {
		return p.Store
	}
	return p.second
}

func (p *pair) Merge(ctx context.Context, b snapshot.Batch) (snapshot.Merged, error) {
	return p.one().Merge(ctx, b)
}

func (p *pair) Answers(ctx context.Context, depot scan.DepotID, asks []snapshot.Ask) ([]snapshot.Answer, error) {
	return p.one().Answers(ctx, depot, asks)
}

func (p *pair) Import(ctx context.Context, items []snapshot.Import) (snapshot.Imported, error) {
	return p.one().Import(ctx, items)
}

func (p *pair) Lookup(ctx context.Context, id scan.WaybillID) (snapshot.Waybill, bool, error) {
	return p.one().Lookup(ctx, id)
}

func (p *pair) Close() error { return errors.Join(p.Store.Close(), p.second.Close()) }

// TestTwoProcesses holds two stores in one database to the contract of one: at
// random against the model, and while all of them merge into one waybill at once.
func TestTwoProcesses(t *testing.T) {
	snapshottest.RunAtRandom(t, func(t testing.TB, now func() time.Time) func() snapshot.Store {
		o := options(t)
		o.Now = now
		return func() snapshot.Store { return &pair{open(t, o), open(t, o)} }
	})
}
