package central

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/syncapi"
)

// maxAhead is how far in the future a time may lie before it can only be a
// mistake; the clock rule of the depots is far stricter.
const maxAhead = 24 * time.Hour

// event turns an event on the wire into one for the snapshot, refused where it
// is unsound, and without waybill data where that is.
func (c *Central) event(w *syncapi.Event, now time.Time) snapshot.Event {
	e := snapshot.Event{Seq: w.Seq, Muted: w.Muted, Event: w.Event()}
	e.Refuse = unsound(&e.Event, now)
	if e.Data != nil && badData(e.Data, now) != nil {
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
	case len(e.Waybill) > snapshot.MaxWaybillID:
		return fmt.Sprintf("waybill_id is longer than %d bytes", snapshot.MaxWaybillID)
	case scan.NormalizeWaybill(string(e.Waybill)) != e.Waybill:
		return "waybill_id is not trimmed and in upper case"
	case e.ActionTime <= 0:
		return "action_time is missing"
	case e.ActionTime > now.Add(maxAhead).Unix():
		return "action_time lies more than a day ahead of the centre's clock"
	}
	return ""
}

// badData tells what is wrong with waybill data; nil if nothing.
func badData(w *scan.Waybill, now time.Time) error {
	if w.CreateTime > now.Add(maxAhead).Unix() {
		return errors.New("create_time lies in the future: it is in unix seconds")
	}
	return w.Validate()
}
