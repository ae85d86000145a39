package control

import (
	"strconv"

	"scanrelay/agent/scan"
	"scanrelay/store"
)

// Event is a line of `scanrelay events --json`.
type Event struct {
	ID         string `json:"id"`
	EventID    string `json:"event_id"`
	WaybillID  string `json:"waybill_id"`
	ActionType int    `json:"action_type"`
	ActionTime int64  `json:"action_time"`
	ReceivedAt Stamp  `json:"received_at"`
	State      string `json:"state"`
	Attempts   int    `json:"attempts"`
	LastError  string `json:"last_error"`
	FinishedAt Stamp  `json:"finished_at"`
}

// Node is an event as `trace` and `deadletter list` show it.
type Node struct {
	Event
	ActionMsg string `json:"action_msg"`
	ErrCode   int    `json:"errcode"`
	RID       string `json:"rid"`
}

// Trace is a waybill's nodes at this depot, in sequence order.
type Trace struct {
	WaybillID string `json:"waybill_id"`
	Nodes     []Node `json:"nodes"`
}

// Rejected is a line of `scanrelay events --state rejected --json`.
type Rejected struct {
	Event
	Topic   string `json:"topic"`
	Payload []byte `json:"payload"` // base64 in JSON
}

// StateRejected is the state of what is in quarantine.
const StateRejected = "rejected"

// masked masks a text unless reveal is set.
func masked(s string, reveal bool, mask func(string) string) string {
	if reveal {
		return s
	}
	return mask(s)
}

func eventOf(r *store.Record, reveal bool) Event {
	return Event{
		ID: r.ID.String(), EventID: r.Event.EventID, WaybillID: string(r.Event.Waybill),
		ActionType: int(r.Event.ActionType), ActionTime: r.Event.ActionTime,
		ReceivedAt: Stamp{r.Event.ReceivedAt}, State: r.State.String(), Attempts: r.Attempts,
		LastError: masked(r.Last.Reason, reveal, scan.MaskPayload), FinishedAt: Stamp{r.FinishedAt},
	}
}

// NodeOf shows a record; reveal shows its personal data.
func NodeOf(r *store.Record, reveal bool) Node {
	return Node{
		Event: eventOf(r, reveal), ActionMsg: masked(string(r.Event.ActionMsg), reveal, func(s string) string { return scan.Text(s).String() }),
		ErrCode: r.Last.ErrCode, RID: r.Last.RID,
	}
}

// RejectedOf shows what is in quarantine; reveal shows its personal data.
func RejectedOf(q *store.Quarantined, reveal bool) Rejected {
	reason := q.Reason
	if q.Index >= 0 {
		reason = "element " + strconv.Itoa(q.Index) + ": " + reason
	}
	return Rejected{
		Event: Event{
			ID: RejectedID(q.Seq), ReceivedAt: Stamp{q.ReceivedAt},
			State: StateRejected, LastError: masked(reason, reveal, scan.MaskPayload),
		},
		Topic: masked(q.Topic, reveal, scan.MaskPayload), Payload: []byte(masked(string(q.Payload), reveal, scan.MaskPayload)),
	}
}
