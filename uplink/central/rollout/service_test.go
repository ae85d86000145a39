package rollout

import (
	"context"
	"errors"
	"testing"
	"time"

	table "scanrelay/uplink/central/internal/documents"
)

// between is a table in which something happens once, after the ledger was read.
type between struct {
	*table.Table
	then func()
}

func (b *between) Document(ctx context.Context, name string) ([]byte, int64, error) {
	doc, version, err := b.Table.Document(ctx, name)
	if fn := b.then; fn != nil && name == ledgerName {
		b.then = nil
		fn()
	}
	return doc, version, err
}

// TestHaltWhileItIsLookedAt: a look at the rollout that began before a halt does not undo it
// in memory.
func TestHaltWhileItIsLookedAt(t *testing.T) {
	docs := &between{Table: table.New(nil)}
	w, a, _ := pair(t, docs)
	docs.then = func() { w.act("halt", "") }
	if err := w.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := w.says(a, "1.0.0", "staged"); d.Update != nil || !d.Hold {
		t.Errorf("after a halt: %+v", d)
	}
}

// TestProcessThatStandsBy: one that hears nobody moves no ring on.
func TestProcessThatStandsBy(t *testing.T) {
	docs := table.New(nil)
	w := newWorld(t, docs, gatewayOf(1, ""), gatewayOf(2, ""))
	w.start(everywhere("1.1.0"))
	for _, g := range w.fleet {
		w.says(g, "1.0.0", "idle")
	}
	w.says(w.fleet[0], "1.1.0", "committed") // the other is under way
	stands := newWorld(t, docs, gatewayOf(1, ""), gatewayOf(2, ""))
	for _, g := range stands.fleet {
		g.Away = true
	}
	if err := stands.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := stands.view(); !v.Soaking.IsZero() || v.State != Running {
		t.Errorf("%s, soaking since %s", v.State, v.Soaking)
	}
}

// away is a table that cannot be read.
type away struct{ *table.Table }

func (away) Document(context.Context, string) ([]byte, int64, error) {
	return nil, 0, errors.New("the database is away")
}

// TestAwayIsNotDamaged: a table that cannot be read now is no damage.
func TestAwayIsNotDamaged(t *testing.T) {
	docs := table.New(nil)
	s := New(Options{Table: away{docs}, Now: time.Now})
	if err := s.Load(t.Context()); err == nil || len(docs.Damage()) != 0 {
		t.Errorf("%v, damage %q", err, docs.Damage())
	}
}
