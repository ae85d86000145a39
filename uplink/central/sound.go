package central

import (
	"strings"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/waybills"
	"scanrelay/uplink/syncapi"
)

// event turns an event on the wire into one for the snapshot, refused where it
// is unsound, and without waybill data where that is.
func (c *Central) event(w *syncapi.Event, now time.Time) snapshot.Event {
	e := snapshot.Event{Seq: w.Seq, Muted: w.Muted, Event: w.Event()}
	e.Refuse = unsound(&e.Event, now)
	if e.Data != nil && waybills.Unsound(e.Data, now) != nil {
		e.Data = nil
		c.meters.dropped.Inc()
	}
	return e
}

// unsound tells why an event cannot be taken; "" if it can. It names fields,
// never their content.
func unsound(e *scan.Event, now time.Time) string {
	if err := e.Validate(); err != nil {
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	switch {
	case snapshot.BadID(e.Waybill) != "":
		return snapshot.BadID(e.Waybill)
	case scan.NormalizeWaybill(string(e.Waybill)) != e.Waybill:
		return "waybill_id is not trimmed and in upper case"
	case e.ActionTime <= 0:
		return "action_time is missing"
	case e.ActionTime > now.Add(waybills.MaxAhead).Unix():
		return "action_time lies more than a day ahead of the centre's clock"
	}
	return ""
}
