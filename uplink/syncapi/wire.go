package syncapi

import (
	"scanrelay/agent/scan"
	"scanrelay/uplink/syncapi/directive"
	"scanrelay/uplink/syncapi/health"
	"scanrelay/uplink/syncapi/order"
)

// Version is the version of the sync API that this code speaks; the path and
// the field v carry it.
const Version = 1

// Path is where the centre serves the sync API.
const Path = "/v1/sync"

// Request is the agent's side of one sync.
type Request struct {
	V       int    `json:"v"`
	Agent   string `json:"agent"` // scanrelay's version
	Epoch   string `json:"epoch"` // 16 hex digits
	NextSeq uint64 `json:"next_seq"`
	// Finished: the agent's store has ended all below that number, and knows of no damage.
	// 0: it does not say.
	Finished uint64 `json:"finished,omitempty"`
	// From is the first number that the request covers; see the package
	// comment. 0 when Events is empty.
	From   uint64  `json:"from,omitempty"`
	Events []Event `json:"events,omitempty"`
	// Ask names events taken before whose answer is wanted again. They may be
	// of older epochs.
	Ask []Ask `json:"ask,omitempty"`
	// Waiting names waybills that the agent waits for data of.
	Waiting  []scan.WaybillID `json:"waiting,omitempty"`
	Bindings []Binding        `json:"bindings,omitempty"`
	// BadToken is the generation of an access token that WeChat refused.
	BadToken string `json:"bad_token,omitempty"`
	// Accepted is the generation that WeChat took last.
	Accepted *Accepted `json:"accepted,omitempty"`
	// Backlog is how many events wait for a push: the centre shares the
	// fleet's rate out by need.
	Backlog int64 `json:"backlog"`
	// Done says what became of the orders of the last answer that are done.
	Done []order.Done `json:"done,omitempty"`
	// Looked says what became of the scans of waybills that the last answer asked about.
	Looked []order.Looked `json:"looked,omitempty"`
	// OSArch is what the agent runs on, as linux/arm.
	OSArch string                 `json:"os_arch,omitempty"`
	Health *health.Report         `json:"health,omitempty"`
	Update *directive.UpdateState `json:"update,omitempty"`
	Config *directive.ConfigState `json:"config,omitempty"`
}

// Event is one scan event on the wire; times are unix seconds.
type Event struct {
	Seq          uint64          `json:"seq"`
	EventID      string          `json:"event_id"`
	WaybillID    scan.WaybillID  `json:"waybill_id"`
	ActionTime   int64           `json:"action_time"`
	ActionType   scan.ActionType `json:"action_type"`
	ActionMsg    string          `json:"action_msg"`
	ReceivedAt   int64           `json:"received_at"`
	PickupName   string          `json:"pickup_courier_name,omitempty"`
	PickupPhone  string          `json:"pickup_courier_phone,omitempty"`
	DeliverName  string          `json:"delivery_courier_name,omitempty"`
	DeliverPhone string          `json:"delivery_courier_phone,omitempty"`
	Muted        bool            `json:"muted,omitempty"`
	Waybill      *Waybill        `json:"waybill,omitempty"` // data that came with the scan
}

// Waybill is waybill data; also the body of POST /v1/waybills with its id.
type Waybill struct {
	CreateTime int64 `json:"create_time"`
	Sender     Party `json:"sender"`
	Receiver   Party `json:"receiver"`
}

// Party has pathnotify's field names.
type Party struct {
	Name     string `json:"name,omitempty"`
	Phone    string `json:"phone,omitempty"`
	Province string `json:"province,omitempty"`
	City     string `json:"city,omitempty"`
	Area     string `json:"area,omitempty"`
	Street   string `json:"street,omitempty"`
	Address  string `json:"address,omitempty"`
	ID       string `json:"id,omitempty"`
}

// Accepted says that WeChat took the token of a generation, and how many seconds
// ago.
type Accepted struct {
	Generation string `json:"generation"`
	Age        int64  `json:"age"`
}

// Ask names one event by its number, and by its identity, so that a centre
// which lost the number can still tell.
type Ask struct {
	Epoch     string         `json:"epoch"`
	Seq       uint64         `json:"seq"`
	EventID   string         `json:"event_id"`
	WaybillID scan.WaybillID `json:"waybill_id"`
}

// Binding is what a depot learned from WeChat about a waybill's receiver. The
// centre knows the phone and files it under that.
type Binding struct {
	WaybillID scan.WaybillID `json:"waybill_id"`
	Exist     bool           `json:"exist"`
	Age       int64          `json:"age"` // seconds since WeChat said so
}

// Response is the centre's side of one sync.
type Response struct {
	V       int    `json:"v"`
	StoreID string `json:"store_id"` // changes when the centre's store is replaced
	Process string `json:"process"`  // changes when the centre lost what depots declared
	Time    int64  `json:"time"`     // the centre's clock, unix seconds
	// Have is the highest number taken of the request's epoch, see the
	// package comment; 0: none.
	Have uint64 `json:"have"`
	// Rewind is set when From lay above Have+1: nothing was merged.
	Rewind   bool             `json:"rewind,omitempty"`
	Answers  []Answer         `json:"answers,omitempty"`
	Waybills []Known          `json:"waybills,omitempty"`
	Ready    []scan.WaybillID `json:"ready,omitempty"`
	Token    *Token           `json:"token,omitempty"`
	Rate     float64          `json:"rate"` // this depot's share, pathnotify calls a second
	WeChat   WeChatView       `json:"wechat"`
	Orders   []order.Order    `json:"orders,omitempty"`
	// Look names waybills of which somebody asks what became of their scans.
	Look []scan.WaybillID `json:"look,omitempty"`

	Directives *directive.Directives `json:"directives,omitempty"`
}

// Result is the centre's answer to one event.
type Result string

// What the centre can answer. Conflict: the same number came before
// with another identity; the agent takes a new epoch. Unknown: an asked event
// that this centre has never taken; the agent syncs the waybill again.
const (
	Taken         Result = "taken"
	Late          Result = "late"
	Duplicate     Result = "duplicate"
	NoWaybillData Result = "no_waybill_data"
	Refused       Result = "refused"
	Conflict      Result = "conflict"
	Unknown       Result = "unknown"
)

// Answer is the result for one event. An event that is late and without
// waybill data is answered Late: it will never be pushed.
type Answer struct {
	Epoch  string `json:"epoch"`
	Seq    uint64 `json:"seq"`
	Result Result `json:"result"`
	Reason string `json:"reason,omitempty"` // of refused, and of late where a parcel was scanned
}

// Known is what the centre knows about a waybill that a push needs.
type Known struct {
	WaybillID scan.WaybillID `json:"waybill_id"`
	Waybill
	// Binding is nil when nothing is known. Its WaybillID is empty.
	Binding *Binding `json:"binding,omitempty"`
}

// Token is the access token of the fleet. Its generation is an opaque name of
// the token's text: same text, same generation.
type Token struct {
	Value      string `json:"value"`
	Generation string `json:"generation"`
	ExpiresIn  int64  `json:"expires_in"` // seconds
	// Retried is set when the depot reported this very text as bad and the centre
	// has looked: it is to be tried once more.
	Retried bool `json:"retried,omitempty"`
}

// States of WeChat, as status shows them.
const (
	StateOK          = "ok"
	StateThrottled   = "throttled" // a depot's alone
	StateBlocked     = "blocked"
	StateNoToken     = "no_token"
	StateUnreachable = "unreachable"
)

// WeChatView is how the centre stands with WeChat, with a reason for operators.
type WeChatView struct {
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// Failure is the body of every answer that is no 200.
type Failure struct {
	Error string `json:"error"`

	Directives *directive.Directives `json:"directives,omitempty"` // of a 409
}
