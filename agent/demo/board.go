package demo

import (
	"slices"
	"sync"
	"time"

	"scanrelay/agent/control"
	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/wechat/fake"
)

// stage is how far a scan has come on the page's way.
type stage int

// The stages. A scan that ends without a push leaves the way where it stood.
const (
	unscanned stage = iota - 1
	sent            // a scanner published it
	onDisk          // the outbox has it, fsync done
	synced          // the centre has it
	asked           // WeChat's reverse lookup for it was answered
	pushed          // WeChat showed the message
	left            // it ended otherwise: not bound, superseded, …
)

// node is one scan on the board.
type node struct {
	view   *view
	action int
	stage  stage
	token  int // the number of its moving picture; 0: it has none
}

// view is one parcel on the board.
type view struct {
	parcel *parcel
	nodes  []*node
	ended  time.Time // when its last scan ended; zero before
	begun  time.Time
}

// Bounds of what the page draws; counts are always of everything.
const (
	maxTokens  = 360 // moving pictures at once
	newTokens  = 7   // and new ones a tick
	maxRows    = 8   // parcels shown with their whole path
	maxCards   = 24  // messages on the phone
	rowKept    = 2500 * time.Millisecond
	maxSamples = 240
)

// board is what the page shows. The parts' hooks move it; hub reads it.
type board struct {
	now func() time.Time

	mu      sync.Mutex // guards all below
	nodes   map[key]*node
	views   []*view
	byID    map[string]*view
	rows    []*view // shown, in their places
	cards   []card  // newest last
	reached [left + 1]int
	others  map[store.State]int // ended without a push
	tokens  map[int]*node       // live
	lastID  int
	phase   string
	status  control.Status
	result  *resultView
	samples []sample
	fresh   delta
	budget  int
	begun   int
	ended   int
}

// delta is what happened since the last frame.
type delta struct {
	moves []move
	cards []card
	rows  bool
}

func newBoard(parcels []*parcel, now func() time.Time) *board {
	b := &board{now: now, nodes: map[key]*node{}, byID: map[string]*view{}, others: map[store.State]int{}, tokens: map[int]*node{}, phase: "starting", budget: newTokens}
	for _, p := range parcels {
		v := &view{parcel: p}
		for _, s := range p.stops {
			n := &node{view: v, action: s.action, stage: unscanned}
			v.nodes = append(v.nodes, n)
			b.nodes[s.key] = n
		}
		b.views = append(b.views, v)
		b.byID[p.waybill] = v
	}
	return b
}

// setPhase is starting, scanning, draining or done.
func (b *board) setPhase(p string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.phase = p
}

// setStatus takes the agent's own view.
func (b *board) setStatus(s control.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = s
}

// scanned is told by the scanners.
func (b *board) scanned(k key) { b.reach(k, sent) }

// stored is the agent's OnStored hook.
func (b *board) stored(batch scan.Batch, _ scan.Stored) {
	for _, e := range batch.Events {
		b.reach(keyOf(e), onDisk)
	}
}

// synced is the uplink's OnSynced hook.
func (b *board) synced(records []store.Record) {
	for _, r := range records {
		b.reach(keyOf(r.Event), synced)
	}
}

// lookedUp is the fake WeChat's OnLookup hook.
func (b *board) lookedUp(l fake.Lookup) {
	if l.Errcode == 0 {
		b.reach(key{l.WaybillID, l.Pushed.ActionType, l.Pushed.ActionMsg}, asked)
	}
}

// outcome is the uplink's OnOutcome hook.
func (b *board) outcome(r store.Record) {
	if r.State == store.Pushed {
		b.reach(keyOf(r.Event), pushed)
		return
	}
	b.mu.Lock()
	b.others[r.State]++
	b.mu.Unlock()
	b.reach(keyOf(r.Event), left)
}

// message is the fake WeChat's OnPush hook.
func (b *board) message(p fake.Push) {
	c := card{
		ID: p.Seq, Waybill: p.WaybillID, Phone: scan.Phone(p.Receiver.Phone).String(), Action: p.Node.ActionType,
		Text: scan.MaskDigitRuns(p.Node.ActionMsg), At: p.At.UnixMilli(),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.byID[p.WaybillID]; v != nil {
		c.To = v.parcel.to
	}
	b.cards = append(b.cards, c)
	if len(b.cards) > maxCards {
		b.cards = slices.Delete(b.cards, 0, len(b.cards)-maxCards)
	}
	b.fresh.cards = append(b.fresh.cards, c)
	if len(b.fresh.cards) > maxCards {
		b.fresh.cards = slices.Delete(b.fresh.cards, 0, 1)
	}
}

func keyOf(e scan.Event) key {
	return key{string(e.Waybill), int(e.ActionType), e.ActionMsg.Reveal()}
}

// reach moves a scan on; it never goes back, and all stages in between count.
func (b *board) reach(k key, to stage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.nodes[k]
	if n == nil || n.stage >= pushed || n.stage >= to {
		return
	}
	if n.stage == unscanned {
		b.begin(n)
	}
	last := to
	if to == left {
		last = synced // what ends otherwise was synced and never asked for
	}
	for s := n.stage + 1; s <= last; s++ {
		b.reached[s]++
	}
	if to == left {
		b.reached[left]++
	}
	n.stage = to
	b.picture(n)
	b.touch(n.view)
}

// begin counts a parcel's first scan and gives the scan a moving picture while
// there is room.
func (b *board) begin(n *node) {
	if n.view.begun.IsZero() {
		n.view.begun = b.now()
		b.begun++
	}
	if b.budget > 0 && len(b.tokens) < maxTokens {
		b.budget--
		b.lastID++
		n.token = b.lastID
		b.tokens[n.token] = n
	}
}

func (b *board) picture(n *node) {
	if n.token == 0 {
		return
	}
	b.fresh.moves = append(b.fresh.moves, move{n.token, int(n.stage), n.action})
	if n.stage >= pushed {
		delete(b.tokens, n.token)
	}
}

// touch keeps the rows: a parcel gets a free place, or that of one whose way
// has been over for a while.
func (b *board) touch(v *view) {
	if v.ended.IsZero() && !slices.ContainsFunc(v.nodes, func(n *node) bool { return n.stage < pushed }) {
		v.ended = b.now()
		b.ended++
	}
	if slices.Contains(b.rows, v) {
		b.fresh.rows = true
		return
	}
	if !v.ended.IsZero() {
		return
	}
	if len(b.rows) < maxRows {
		b.rows = append(b.rows, v)
		b.fresh.rows = true
		return
	}
	for i, old := range b.rows {
		if !old.ended.IsZero() && b.now().Sub(old.ended) > rowKept {
			b.rows[i] = v
			b.fresh.rows = true
			return
		}
	}
}
