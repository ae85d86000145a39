package demo

import (
	"time"

	"scanrelay/agent/control"
	"scanrelay/store"
	"scanrelay/uplink/syncapi/health"
)

// frame is what the page is told, about eight times a second while something
// happens. Names are short: a busy demo sends many.
type frame struct {
	Full    bool           `json:"full,omitempty"` // replaces everything before it
	T       int64          `json:"t"`              // milliseconds since the start
	Phase   string         `json:"phase"`
	Link    linkView       `json:"link"`
	Parcels parcelCount    `json:"parcels"`
	Reached [5]int         `json:"reached"` // how many scans came so far: sent … pushed
	Outcome outcomeCount   `json:"outcome"`
	Wait    health.Pending `json:"wait"`
	Intake  control.Intake `json:"intake"`
	WeChat  string         `json:"wechat"`
	Moves   []move         `json:"moves,omitempty"`
	Cards   []card         `json:"cards,omitempty"`
	Rows    []row          `json:"rows,omitempty"`
	Samples []sample       `json:"samples,omitempty"` // full: all; else the newest
	Result  *resultView    `json:"result,omitempty"`
	CanCut  bool           `json:"can_cut"`
	Bye     bool           `json:"bye,omitempty"` // the last frame
}

type linkView struct {
	Up   bool  `json:"up"`
	Back int64 `json:"back,omitempty"` // milliseconds until it is up again
}

type parcelCount struct {
	Total int `json:"total"`
	Begun int `json:"begun"`
	Ended int `json:"ended"`
}

type outcomeCount struct {
	Pushed     int `json:"pushed"`
	NotBound   int `json:"not_bound"`
	Superseded int `json:"superseded"`
	Other      int `json:"other"`
}

// move is [token, stage, action type].
type move [3]int

// sample is [milliseconds since the start, waiting, pushed so far].
type sample [3]int64

// card is one message on the phone. Numbers are masked.
type card struct {
	ID      int    `json:"id"`
	Waybill string `json:"waybill"`
	Phone   string `json:"phone"`
	Action  int    `json:"action"`
	Text    string `json:"text"`
	To      string `json:"to"`
	At      int64  `json:"at"` // unix milliseconds
}

// row is one parcel with its whole path: [action type, stage] of each scan.
type row struct {
	Waybill string   `json:"waybill"`
	To      string   `json:"to"`
	Nodes   [][2]int `json:"nodes"`
}

type resultView struct {
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

// frame takes the news off the board.
func (b *board) frame(start time.Time, link linkView) frame {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.state(start, link)
	f.Moves, f.Cards = b.fresh.moves, b.fresh.cards
	if b.fresh.rows {
		f.Rows = b.rowViews()
	}
	b.fresh, b.budget = delta{}, newTokens
	return f
}

// full makes a frame that needs no other before it. News stay for the next.
func (b *board) full(start time.Time, link linkView) frame {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.state(start, link)
	f.Full, f.Cards, f.Rows, f.Samples = true, b.cards, b.rowViews(), b.samples
	for id, n := range b.tokens {
		f.Moves = append(f.Moves, move{id, int(n.stage), n.action})
	}
	return f
}

func (b *board) state(start time.Time, link linkView) frame {
	f := frame{
		T: b.now().Sub(start).Milliseconds(), Phase: b.phase, Link: link, Result: b.result,
		Parcels: parcelCount{len(b.views), b.begun, b.ended},
		Outcome: outcomeCount{Pushed: b.reached[pushed], NotBound: b.others[store.NotBound], Superseded: b.others[store.Superseded]},
		Wait:    b.status.Pending,
		Intake:  b.status.Intake,
		WeChat:  b.status.WeChat.State, CanCut: b.phase == "scanning" && link.Up,
	}
	copy(f.Reached[:], b.reached[:])
	for state, n := range b.others {
		if state != store.NotBound && state != store.Superseded {
			f.Outcome.Other += n
		}
	}
	return f
}

func (b *board) rowViews() []row {
	rows := make([]row, len(b.rows))
	for i, v := range b.rows {
		rows[i] = row{Waybill: v.parcel.waybill, To: v.parcel.to}
		for _, n := range v.nodes {
			rows[i].Nodes = append(rows[i].Nodes, [2]int{n.action, int(n.stage)})
		}
	}
	return rows
}

// sample notes how much waits, for the page's curve.
func (b *board) sample(start time.Time) sample {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := sample{b.now().Sub(start).Milliseconds(), int64(b.status.Pending.Total()), int64(b.reached[pushed])}
	if b.samples = append(b.samples, s); len(b.samples) > maxSamples {
		b.samples = b.samples[1:]
	}
	return s
}

// empty reports whether a frame has no news but its time.
func (f *frame) empty() bool {
	return len(f.Moves)+len(f.Cards)+len(f.Rows)+len(f.Samples) == 0
}
