package central

import (
	"strings"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/waybills"
	"scanrelay/uplink/syncapi"
)

// maxSkew is how far a depot's clock may be ahead of the centre's: a time beyond
// it is not believed, and makes no other event late.
const maxSkew = 5 * time.Minute

// now is what time it is: by the centre's clock, or by WeChat's where they differ
// by more than a clock may. A centre whose clock is wrong would refuse what is
// sound, for good, and keep all depots from believing theirs.
func (c *Central) now() time.Time {
	now, told := c.o.Now(), c.o.WeChatTime()
	if told.IsZero() || now.Sub(told).Abs() <= maxSkew {
		return now
	}
	return told
}

// farAhead reports whether nobody's clock explains a time.
func (c *Central) farAhead(t int64) bool {
	latest := c.o.Now()
	if told := c.o.WeChatTime(); told.After(latest) {
		latest = told
	}
	return t > latest.Add(waybills.MaxAhead).Unix()
}

// decided is how many of the events, which come in order, can be judged. Of one that
// lies far ahead nobody can tell whether its clock is wrong or the centre's, while
// WeChat was never heard and nothing that the depot took later bears the centre's out.
func (c *Central) decided(events []syncapi.Event) int {
	if !c.o.WeChatTime().IsZero() {
		return len(events)
	}
	n := len(events)
	for i := range events {
		switch age := c.o.Now().Sub(time.Unix(events[i].ActionTime, 0)); {
		case age < -waybills.MaxAhead:
			n = min(n, i)
		case -maxSkew <= age && age <= waybills.MaxAhead:
			n = len(events)
		}
	}
	return n
}

// event turns an event on the wire into one for the snapshot, refused where it
// is unsound, and without waybill data where that is.
func (c *Central) event(w *syncapi.Event, now time.Time) snapshot.Event {
	ahead := w.ActionTime > now.Add(maxSkew).Unix()
	e := snapshot.Event{Seq: w.Seq, Muted: w.Muted || ahead, Event: w.Event()}
	if e.Refuse = unsound(&e.Event); e.Refuse == "" && c.farAhead(e.ActionTime) {
		e.Refuse = "action_time lies more than a day ahead of the centre's clock"
	}
	if e.Data != nil && waybills.Unsound(e.Data, now) != nil {
		e.Data = nil
		c.meters.dropped.Inc()
	}
	return e
}

// unsound tells why an event cannot be taken; "" if it can. It names fields,
// never their content.
func unsound(e *scan.Event) string {
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
	}
	return ""
}
