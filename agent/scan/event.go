package scan

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// WaybillID is a waybill number (运单号), normalised: trimmed, upper case.
type WaybillID string

// NormalizeWaybill trims s and puts it into upper case. Whether it is a waybill
// number at all is configuration.
func NormalizeWaybill(s string) WaybillID {
	return WaybillID(strings.ToUpper(strings.TrimSpace(s)))
}

// DepotID names a depot, in the form of DepotPattern.
type DepotID string

// DepotPattern is the form of a depot's id: it stands in topics, URLs and labels.
const DepotPattern = `^[a-z0-9][a-z0-9-]{0,62}$`

var depotPattern = regexp.MustCompile(DepotPattern)

// Valid reports whether the id has its form.
func (d DepotID) Valid() bool { return depotPattern.MatchString(string(d)) }

// Courier is who picks a parcel up or delivers it; both fields may be empty.
type Courier struct {
	Name  Private
	Phone Phone
}

// Party is the sender or receiver of a waybill.
type Party struct {
	Name     Private
	Phone    Phone
	Province Private
	City     Private
	Area     Private
	Street   Private
	Address  Private
	ID       Private
}

// Waybill is the waybill data that a push needs beside the node.
type Waybill struct {
	CreateTime int64 // unix seconds
	Sender     Party
	Receiver   Party
}

// Marks tell what intake had to change in an event.
type Marks uint8

const (
	// MarkClock: action_time was missing, no time or implausible and became
	// the time of arrival (uplink/README.md, Clock rule).
	MarkClock Marks = 1 << iota
	// MarkCut: action_msg was longer than MaxMessage and was cut.
	MarkCut
	// MarkWaybillDropped: the waybill data in the scan was incomplete and
	// was left out.
	MarkWaybillDropped
	// MarkDerivedID: the scanner sent no event_id; ours is derived.
	MarkDerivedID
	// MarkMended: what the device sent was almost JSON, and was mended.
	MarkMended
)

// Has reports whether all marks of m2 are set.
func (m Marks) Has(m2 Marks) bool { return m&m2 == m2 }

// BootTime is a moment on a clock that cannot be believed: the time since a
// boot, with that boot's id. It becomes a wall time once the clock is known
// (uplink/README.md, Clock rule).
type BootTime struct {
	Boot  string        // the kernel's boot id
	Since time.Duration // since that boot, suspended time included
}

// WeakKey is the hash of topic and payload of an event that has neither an id
// nor a time of its own; the zero value means that the event has one of them.
type WeakKey [16]byte

// Event is one scan event: one read of one label by one device.
type Event struct {
	// EventID is the scanner's own id or a derived one. Within a depot an
	// event is identified by Waybill and EventID together.
	EventID    string
	Waybill    WaybillID
	ActionType ActionType
	ActionTime int64 // unix seconds, after the clock rule
	ActionMsg  Text
	DeviceID   string
	Pickup     Courier
	Delivery   Courier
	// Data is the waybill data that came with the scan; nil if none did.
	Data       *Waybill
	ReceivedAt time.Time
	Marks      Marks
	// Weak is set for events that have neither id nor time; see WeakKey.
	Weak WeakKey
	// Clockless is set while the gateway's clock cannot be believed; then
	// ReceivedAt, and ActionTime if MarkClock is set, are provisional.
	Clockless *BootTime
	// Client sent it, see Batch; only the depot's store knows.
	Client uint16
}

// PathNode is one entry of a waybill's path (轨迹) at the centre.
type PathNode struct {
	Depot      DepotID
	EventID    string
	ActionTime int64 // unix seconds
	ActionType ActionType
	ActionMsg  Text
	Pickup     Courier
	Delivery   Courier
	// Muted: the depot's notify.actions leaves this node out of pushes; such
	// a node makes no other late.
	Muted bool
	// Late: when it came the fleet already had a newer node.
	Late bool
	// Parcel is the number that was scanned, where it is a parcel's of the
	// shipment that the path belongs to; "": the waybill's own.
	Parcel WaybillID
}

// PathNode returns the event as a node of its waybill's path.
func (e *Event) PathNode(depot DepotID) PathNode {
	return PathNode{
		Depot: depot, EventID: e.EventID, ActionTime: e.ActionTime, ActionType: e.ActionType, ActionMsg: e.ActionMsg,
		Pickup: e.Pickup, Delivery: e.Delivery,
	}
}

// The structs below format themselves as %+v whatever the verb: fmt prints a
// nested pointer under a verb that does not fit without asking the fields, and
// would show what they hide.

// Format prints the event masked under every verb.
func (e Event) Format(s fmt.State, _ rune) {
	type plain Event
	_, _ = fmt.Fprintf(s, "%+v", plain(e))
}

// Format prints the waybill data masked under every verb.
func (w Waybill) Format(s fmt.State, _ rune) {
	type plain Waybill
	_, _ = fmt.Fprintf(s, "%+v", plain(w))
}

// Format prints the party masked under every verb.
func (p Party) Format(s fmt.State, _ rune) {
	type plain Party
	_, _ = fmt.Fprintf(s, "%+v", plain(p))
}

// Format prints the courier masked under every verb.
func (c Courier) Format(s fmt.State, _ rune) {
	type plain Courier
	_, _ = fmt.Fprintf(s, "%+v", plain(c))
}

// Format prints the path node masked under every verb.
func (n PathNode) Format(s fmt.State, _ rune) {
	type plain PathNode
	_, _ = fmt.Fprintf(s, "%+v", plain(n))
}
