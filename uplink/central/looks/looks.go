package looks

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/limit"
	"scanrelay/configs/wait"
	"scanrelay/store/durable"
	"scanrelay/uplink/central/documents"
	"scanrelay/uplink/syncapi/order"
)

// Options is what Looks are made of.
type Options struct {
	Table  documents.Table
	Alone  bool // no other process has the table
	Now    func() time.Time
	Logger *slog.Logger
}

// Looks are those at all waybills. Make them with New, and Run them.
type Looks struct {
	o      Options
	asks   *limit.Keyed
	failed wait.Rarely // lines about a table that cannot be read

	mu   sync.Mutex
	open map[scan.DepotID][]scan.WaybillID // guarded by mu: what depots are asked, as it was a moment ago
}

const (
	prefix = "look/"
	places = 256 // waybills that are kept; another one takes the place of one before
	// askAgain is when what a depot told is asked anew, and askLife for how long it
	// is asked.
	askAgain = 30 * time.Second
	askLife  = 10 * time.Minute
	// lookEvery is how often it is looked for what another process asks.
	lookEvery = 2 * time.Second
	// maxDepots bounds those that are asked about one waybill, and asksASecond, with
	// asksAtOnce, how often anybody is.
	maxDepots   = 50
	asksASecond = 2
	asksAtOnce  = 60
)

// look is what is kept of a waybill.
type look struct {
	Waybill scan.WaybillID             `json:"waybill"`
	Asked   map[scan.DepotID]time.Time `json:"asked,omitempty"` // who has not answered yet
	Told    map[scan.DepotID]testimony `json:"told,omitempty"`
}

type testimony struct {
	At    time.Time    `json:"at"`
	Fates []order.Fate `json:"fates,omitempty"`
}

// Known is what depots have told of a waybill's scans.
type Known struct {
	Pushes []Push         `json:"pushes"`
	Asked  []scan.DepotID `json:"asked"` // those that have not answered yet
}

// Push is what became of one scan, and when its depot said so.
type Push struct {
	Depot scan.DepotID `json:"depot"`
	order.Fate
	Told time.Time `json:"told"`
}

// New makes Looks.
func New(o Options) *Looks {
	return &Looks{o: o, asks: limit.New(asksASecond, asksAtOnce, 1), failed: wait.Rarely{Every: time.Minute}, open: map[scan.DepotID][]scan.WaybillID{}}
}

// Run looks for what other processes ask, until ctx ends.
func (l *Looks) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := l.look(ctx)
		if err != nil && ctx.Err() == nil {
			if more, due := l.failed.Due(l.o.Now()); due {
				l.o.Logger.Error("look for what depots are asked", "error", err, "failed_since_last_line", more)
			}
		}
		if l.o.Alone && err == nil {
			return // what is asked here is known
		}
		wait.Sleep(ctx, lookEvery)
	}
}

func (l *Looks) look(ctx context.Context) error {
	open, now := map[scan.DepotID][]scan.WaybillID{}, l.o.Now()
	err := l.o.Table.Documents(ctx, prefix, func(name string, doc []byte) error {
		var k look
		if documents.Open(name, doc, &k) != nil {
			return nil // it is asked anew
		}
		for depot, at := range k.Asked {
			if now.Sub(at) < askLife {
				open[depot] = append(open[depot], k.Waybill)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = open
	return nil
}

// Of are the waybills that a depot is asked about.
func (l *Looks) Of(depot scan.DepotID) []scan.WaybillID {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.open[depot]
	return list[:min(len(list), order.MaxLooks)]
}

// At asks depots what became of a waybill's scans, where they did not say so just now, and
// returns what is known.
func (l *Looks) At(ctx context.Context, id scan.WaybillID, depots []scan.DepotID) (Known, error) {
	may, _ := l.asks.Allow("", l.o.Now())
	depots = depots[:min(len(depots), maxDepots)]
	k, err := l.change(ctx, id, func(k *look, now time.Time) (changed bool) {
		if k.Waybill != id {
			*k = look{Waybill: id, Asked: map[scan.DepotID]time.Time{}, Told: map[scan.DepotID]testimony{}}
		}
		for _, depot := range depots {
			asked, pending := k.Asked[depot]
			pending = pending && now.Sub(asked) < askLife
			if told, ok := k.Told[depot]; may && !pending && (!ok || now.Sub(told.At) >= askAgain) {
				k.Asked[depot], changed = now, true
			}
		}
		return changed
	})
	known := Known{Pushes: []Push{}, Asked: []scan.DepotID{}}
	if err != nil || k.Waybill != id {
		return known, err
	}
	known.Asked = append(known.Asked, slices.Sorted(maps.Keys(k.Asked))...)
	for _, depot := range slices.Sorted(maps.Keys(k.Told)) {
		for _, f := range k.Told[depot].Fates {
			known.Pushes = append(known.Pushes, Push{Depot: depot, Fate: f, Told: k.Told[depot].At})
		}
	}
	return known, nil
}

// Heard takes what a depot says that it was asked.
func (l *Looks) Heard(ctx context.Context, depot scan.DepotID, said []order.Looked) error {
	for _, id := range l.Of(depot) {
		var fates []order.Fate
		answered := false
		for _, s := range said {
			if s.Waybill != id {
				continue
			}
			if answered = true; s.EventID != "" && len(fates) < order.MaxFates {
				fates = append(fates, s.Fate.Bounded())
			}
		}
		if !answered {
			continue
		}
		_, err := l.change(ctx, id, func(k *look, now time.Time) bool {
			if _, ok := k.Asked[depot]; k.Waybill != id || !ok {
				return false
			}
			delete(k.Asked, depot)
			k.Told[depot] = testimony{At: now, Fates: fates}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// maxTries bounds how often a change is made again since another process was faster.
const maxTries = 20

func (l *Looks) change(ctx context.Context, id scan.WaybillID, fn func(*look, time.Time) bool) (k look, err error) {
	h := fnv.New32a()
	h.Write([]byte(id)) // never fails
	name := fmt.Sprintf("%s%02x", prefix, h.Sum32()%places)
	for range maxTries {
		k = look{}
		version, err := documents.Get(ctx, l.o.Table, name, &k)
		if errors.Is(err, durable.ErrDamaged) {
			k, err = look{}, nil // it is asked anew
		}
		if err != nil {
			return k, err
		}
		before := k.Waybill
		if k.Asked == nil {
			k.Asked = map[scan.DepotID]time.Time{}
		}
		if k.Told == nil {
			k.Told = map[scan.DepotID]testimony{}
		}
		if !fn(&k, l.o.Now().UTC().Truncate(time.Second)) {
			if k.Waybill == before { // what is known here may be older
				l.keep(before, &k)
			}
			return k, nil
		}
		done, err := documents.Put(ctx, l.o.Table, map[string]int64{name: version}, map[string]any{name: k})
		if err != nil || done {
			if err == nil {
				l.keep(before, &k)
			}
			return k, err
		}
	}
	return k, fmt.Errorf("look at a waybill: others do so all the time")
}

// keep takes what is asked now in the place of what was.
func (l *Looks) keep(before scan.WaybillID, k *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for depot, list := range l.open {
		list = slices.DeleteFunc(slices.Clone(list), func(id scan.WaybillID) bool { return id == before || id == k.Waybill })
		if l.open[depot] = list; len(list) == 0 {
			delete(l.open, depot)
		}
	}
	for depot, at := range k.Asked {
		if l.o.Now().Sub(at) < askLife {
			l.open[depot] = append(slices.Clip(l.open[depot]), k.Waybill)
		}
	}
}
