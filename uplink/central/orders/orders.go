package orders

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/durable"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/documents"
	"scanrelay/uplink/syncapi/order"
)

// Options is what Orders are made of.
type Options struct {
	Table  documents.Table
	Alone  bool // no other process has the table
	Audit  *audit.Log
	Now    func() time.Time
	Logger *slog.Logger
}

// Orders are those of all depots. Make them with New, and Run them.
type Orders struct {
	o      Options
	failed wait.Rarely // lines about a table that cannot be read

	mu   sync.Mutex
	open map[scan.DepotID]known // guarded by mu
}

// known is what is open at a depot, as it was a moment ago, and of which change.
type known struct {
	n    int64
	list []order.Order
}

const (
	prefix = "order/"
	// lookEvery is how often it is looked for what another process was told.
	lookEvery = 2 * time.Second
	maxDone   = 20 // orders of a depot that are kept once they are done
)

// kept is what is kept of a depot.
type kept struct {
	N    int64   `json:"n,omitempty"` // rises with each change
	Open []Given `json:"open,omitempty"`
	Done []Given `json:"done,omitempty"` // the last ones, the newest last
}

// Given is an order, by whom it was given, and what became of it.
type Given struct {
	order.Order
	By    string      `json:"by"`
	At    time.Time   `json:"at"`
	Ended time.Time   `json:"ended,omitzero"` // zero: the depot has not done it yet
	Came  *order.Done `json:"came,omitempty"`
}

// New makes Orders of what is kept.
func New(o Options) *Orders {
	return &Orders{o: o, failed: wait.Rarely{Every: time.Minute}, open: map[scan.DepotID]known{}}
}

// Run looks for what other processes were told, until ctx ends.
func (s *Orders) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.look(ctx)
		if err != nil && ctx.Err() == nil {
			if more, due := s.failed.Due(s.o.Now()); due {
				s.o.Logger.Error("look for orders to depots", "error", err, "failed_since_last_line", more)
			}
		}
		if s.o.Alone && err == nil {
			return // what is given here is known
		}
		wait.Sleep(ctx, lookEvery)
	}
}

// look reads all that is kept.
func (s *Orders) look(ctx context.Context) error {
	open := map[scan.DepotID]known{}
	err := s.o.Table.Documents(ctx, prefix, func(name string, doc []byte) error {
		var k kept
		if documents.Open(name, doc, &k) != nil {
			s.o.Table.NoteDamage(broken(name))
			return nil
		}
		open[scan.DepotID(strings.TrimPrefix(name, prefix))] = known{k.N, k.orders()}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = open
	return nil
}

func broken(name string) string {
	return fmt.Sprintf("the orders to depot %s (document %s) are unreadable: give them again", strings.TrimPrefix(name, prefix), name)
}

func (k *kept) orders() []order.Order {
	list := make([]order.Order, len(k.Open))
	for i, g := range k.Open {
		list[i] = g.Order
	}
	return list
}

// Of are the orders that a depot has to do.
func (s *Orders) Of(depot scan.DepotID) []order.Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[depot].list
}

// ErrTooMany: a depot has as many open orders as may be.
var ErrTooMany = errors.New("the depot has too many orders that it has not done yet")

// Give gives a depot an order; fresh is false where it is open already.
func (s *Orders) Give(ctx context.Context, depot scan.DepotID, o order.Order, by string) (g Given, fresh bool, err error) {
	now := s.o.Now().UTC().Truncate(time.Second)
	err = s.change(ctx, depot, func(k *kept) (bool, error) {
		if i := slices.IndexFunc(k.Open, func(g Given) bool { return same(g.Order, o) }); i >= 0 {
			g, fresh = k.Open[i], false
			return false, nil
		}
		if len(k.Open) >= order.MaxOpen {
			return false, ErrTooMany
		}
		o.ID = rand.Text()
		g, fresh = Given{Order: o, By: by, At: now}, true
		k.Open = append(k.Open, g)
		return true, nil
	})
	return g, fresh, err
}

// same reports whether two orders ask for the same.
func same(a, b order.Order) bool {
	return a.Do == b.Do && a.All == b.All && a.Reason == b.Reason && slices.Equal(a.Events, b.Events)
}

// Heard takes what a depot says about its orders.
func (s *Orders) Heard(ctx context.Context, depot scan.DepotID, said []order.Done) error {
	if open := s.Of(depot); !slices.ContainsFunc(said, func(d order.Done) bool { return has(open, d.ID) }) {
		return nil // another process has taken it, or nobody gave it
	}
	var ended []Given
	err := s.change(ctx, depot, func(k *kept) (bool, error) {
		ended = nil
		for _, d := range said {
			i := slices.IndexFunc(k.Open, func(g Given) bool { return g.ID == d.ID })
			if i < 0 {
				continue
			}
			g := k.Open[i]
			d.Count, d.Error = max(0, d.Count), order.Words(d.Error)
			g.Ended, g.Came = s.o.Now().UTC().Truncate(time.Second), &d
			k.Open = slices.Delete(k.Open, i, i+1)
			k.Done, ended = append(k.Done, g), append(ended, g)
		}
		k.Done = k.Done[max(0, len(k.Done)-maxDone):]
		return len(ended) > 0, nil
	})
	for _, g := range ended {
		if err == nil {
			s.tell(depot, g)
		}
	}
	return err
}

func has(open []order.Order, id string) bool {
	return slices.ContainsFunc(open, func(o order.Order) bool { return o.ID == id })
}

// tell notes what became of an order.
func (s *Orders) tell(depot scan.DepotID, g Given) {
	e := audit.Entry{
		Who: "depot/" + string(depot), Action: "deadletters." + g.Do, Depot: string(depot), Result: audit.OK,
		Detail: fmt.Sprintf("order %s of %s is done: %d events", g.ID, g.By, g.Came.Count),
	}
	if g.Came.Error != "" {
		e.Result, e.Detail = audit.Failed, fmt.Sprintf("order %s of %s: %d events; %s", g.ID, g.By, g.Came.Count, g.Came.Error)
	}
	if err := s.o.Audit.Add(e); err != nil {
		s.o.Logger.Error("write the audit log", "error", err)
	}
}

// All are the orders that are open, and the last that are done.
func (s *Orders) All(ctx context.Context, depot scan.DepotID) (list []Given, err error) {
	var k kept
	if _, err = documents.Get(ctx, s.o.Table, prefix+string(depot), &k); errors.Is(err, durable.ErrDamaged) {
		return nil, nil // look tells of it
	}
	return append(k.Done, k.Open...), err
}

// change changes what is kept of a depot. One that is damaged begins anew.
func (s *Orders) change(ctx context.Context, depot scan.DepotID, fn func(*kept) (bool, error)) error {
	name := prefix + string(depot)
	for range maxTries {
		var k kept
		version, err := documents.Get(ctx, s.o.Table, name, &k)
		if errors.Is(err, durable.ErrDamaged) {
			s.o.Table.NoteDamage(broken(name))
			k, err = kept{}, nil
		}
		if err != nil {
			return err
		}
		changed, err := fn(&k)
		done := !changed
		if err == nil && changed {
			k.N++
			done, err = documents.Put(ctx, s.o.Table, map[string]int64{name: version}, map[string]any{name: k})
		}
		if err != nil || done {
			if err == nil {
				s.keep(depot, &k)
			}
			return err
		}
	}
	return fmt.Errorf("change the orders to depot %s: others change them all the time", depot)
}

// maxTries bounds how often a change is made again since another process was faster.
const maxTries = 20

func (s *Orders) keep(depot scan.DepotID, k *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.N >= s.open[depot].n { // else another one was kept in between
		s.open[depot] = known{k.N, k.orders()}
	}
}
