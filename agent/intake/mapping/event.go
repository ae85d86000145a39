package mapping

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"scanrelay/agent/intake/decode"
	"scanrelay/agent/scan"
)

// earliest is before any scan that this program can see: an older time is wrong
// even while the gateway's own clock can't be believed.
var earliest = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// builder makes one event; the first problem stops it.
type builder struct {
	*job
	rd      *read
	ev      scan.Event
	station *station
	named   string // the station as the message names it
	sent    string // the time as it was sent; "" if it was none
	unread  string // what was sent as the time and is none
	bad     *problem
}

// event makes an event of a read, or rejects it.
func (j *job) event(rd *read) {
	b := &builder{job: j, rd: rd}
	b.ev.Waybill, b.ev.ReceivedAt = rd.waybill, j.received
	j.trace.read(rd.el)
	j.traceWaybill(rd)
	for _, step := range []func(){
		b.place, b.action, b.device, b.clock, b.couriers, b.message, b.data, b.identity, b.check,
	} {
		if step(); b.bad != nil {
			j.reject(rd.el, b.bad)
			return
		}
	}
	if b.ev.Weak != (scan.WeakKey{}) && j.info.Retained {
		j.ignore(rd.el, "the broker had kept it (retained), and it has neither an id nor a time: it may be of any age")
		return
	}
	if b.ev.Weak != (scan.WeakKey{}) && j.again(b) {
		j.ignore(rd.el, "the message has this number twice, with neither an id nor a time of its own")
		return
	}
	note := ""
	if rd.el.mended != "" {
		b.ev.Marks |= scan.MarkMended
		note = "its JSON was mended: " + rd.el.mended
	}
	j.batch.Events = append(j.batch.Events, b.ev)
	j.trace.end(rd.el, "event", note, &b.ev)
}

// triggerKey is a number within what one trigger of a device sends: a JSON document,
// or a line.
type triggerKey struct {
	trigger int
	waybill scan.WaybillID
	action  scan.ActionType
}

// again reports whether the trigger has brought this number already: the bar code
// and the QR code of one label, or the same label in two pictures.
func (j *job) again(b *builder) bool {
	key := triggerKey{b.rd.el.trigger, b.ev.Waybill, b.ev.ActionType}
	if j.triggers[key] {
		return true
	}
	if j.triggers == nil {
		j.triggers = make(map[triggerKey]bool)
	}
	j.triggers[key] = true
	return false
}

// get returns a field's text; "" if the message has none.
func (b *builder) get(f field) string {
	v, ok, bad := b.value(f, b.rd)
	if b.bad == nil {
		b.bad = bad
	}
	if !ok {
		return ""
	}
	return v.text
}

func (b *builder) fail(code, format string, args ...any) {
	if b.bad == nil {
		b.bad = problemf(code, format, args...)
	}
}

// place finds the station. One that isn't known matters only where it should
// have supplied something.
func (b *builder) place() {
	b.named = b.get(fieldStation)
	b.station = b.stations[b.named]
}

// lacking reports that neither the message nor the station has a field.
func (b *builder) lacking(f field, code string) {
	rule := b.src.rules[f]
	where := "no " + f.String() + " at " + rule.String()
	if rule.kind == ruleNone {
		where = "no " + f.String()
	}
	switch {
	case b.named != "" && b.station == nil:
		b.fail("unknown_station", "%s, and station %q is not under stations: add it there with %s", where, shown(b.named), f)
	case b.station != nil:
		b.fail(code, "%s, and station %s has none either: give it %s", where, b.named, f)
	default:
		b.fail(code, "%s: name it in fields of %s, or name a station there that supplies it", where, b.src.name())
	}
}

func (b *builder) action() {
	text := b.get(fieldActionType)
	switch {
	case b.bad != nil:
	case text != "":
		a, ok := actionType(text)
		if !ok || a.Check() != nil {
			b.fail("bad_action_type", "action_type %q is none of WeChat's 20 codes (scanrelay check --help-fields lists them): translate it under values.action_type of %s", shown(text), b.src.name())
		}
		b.ev.ActionType = a
	case b.station != nil && b.station.cfg.ActionType != 0:
		b.ev.ActionType = scan.ActionType(b.station.cfg.ActionType)
		b.supplied(fieldActionType, strconv.Itoa(int(b.ev.ActionType)))
	default:
		b.lacking(fieldActionType, "no_action_type")
	}
}

// actionType reads a code as devices and configurations write it; false if it is
// no number.
func actionType(text string) (scan.ActionType, bool) {
	n, err := strconv.Atoi(decode.Digits(text))
	return scan.ActionType(n), err == nil
}

// supplied notes what the station gave.
func (b *builder) supplied(f field, value string) {
	b.trace.supplied(f, b.named, value)
}

func (b *builder) device() {
	id := b.get(fieldDevice)
	b.ev.DeviceID = strings.ToValidUTF8(id[:min(len(id), scan.MaxID)], "") // cut between two characters
}

// clock applies the clock rule (README.md of agent/intake).
func (b *builder) clock() {
	at, from, ok := b.sentTime()
	b.ev.Clockless = b.bootTime()
	switch {
	case ok && b.ev.Clockless == nil:
		ok = scan.PlausibleTime(at.Unix(), b.received)
	case ok:
		ok = !at.Before(earliest)
	}
	if ok {
		b.ev.ActionTime = at.Unix()
		b.trace.field(fieldActionTime, from, b.sent, at.Format(time.RFC3339))
		return
	}
	b.ev.ActionTime = b.received.Unix()
	b.ev.Marks |= scan.MarkClock
	why := "time of arrival: none was sent"
	if r := b.src.rules[fieldActionTime]; r.kind != ruleNone && !r.implied {
		why += " at " + r.String()
	}
	switch {
	case decode.MaybeExcel(b.sent):
		why = "time of arrival: if what was sent are a spreadsheet's days, add " + decode.Excel + " to time_formats"
	case b.sent != "":
		why = "time of arrival: the one sent cannot be, see the clock rule"
	case b.unread != "":
		why = "time of arrival: what was sent is no time in a known form; give its layout under time_formats"
	}
	b.trace.field(fieldActionTime, why, b.sent+b.unread, b.received.Format(time.RFC3339))
}

// sentTime reads the device's time and notes it as it was sent. Sparkplug's
// metrics have one of their own.
func (b *builder) sentTime() (at time.Time, from string, ok bool) {
	v, ok, bad := b.value(fieldActionTime, b.rd)
	if bad != nil {
		b.unread = "an array or an object"
		if bad.code != "bad_field" {
			b.unread = bad.code
		}
		return at, "", false
	}
	if !ok && b.src.decoder == "sparkplug" {
		v, ok = b.metricTime()
	}
	if !ok {
		return at, "", false
	}
	if at, ok = decode.Time(v.text, b.src.layouts, b.src.zone); ok {
		b.sent = v.text
	} else {
		b.unread = v.text
	}
	return at, v.from, ok
}

// metricTime returns the time of the metric that holds the waybill number, be it in
// a template.
func (b *builder) metricTime() (found, bool) {
	r := b.src.rules[fieldWaybill]
	if r.kind != rulePointer || len(r.pointer) == 0 {
		return found{}, false
	}
	path := r.pointer
	if path[0] == "metrics" {
		path = path[1:]
	}
	for ; len(path) > 0; path = path[:len(path)-1] {
		r.pointer = append(decode.Pointer{"timestamps"}, path...)
		if v, ok := b.follow(r, b.rd.el.node); ok {
			return v, true
		}
	}
	return found{}, false
}

// courier fields: the event's own value wins over the station's.
func (b *builder) couriers() {
	var station Station
	if b.station != nil {
		station = b.station.cfg
	}
	get := func(f field, supplied string) string {
		text := b.get(f)
		if text == "" && supplied != "" {
			text = supplied
			b.supplied(f, text)
		}
		return text
	}
	b.ev.Pickup.Name = scan.Private(get(fieldPickupName, station.PickupCourierName))
	b.ev.Pickup.Phone = scan.Phone(get(fieldPickupPhone, station.PickupCourierPhone))
	b.ev.Delivery.Name = scan.Private(get(fieldDeliveryName, station.DeliveryCourierName))
	b.ev.Delivery.Phone = scan.Phone(get(fieldDeliveryPhone, station.DeliveryCourierPhone))
}

// message is action_msg; a station's template sees the rest of the event.
func (b *builder) message() {
	text := b.get(fieldActionMsg)
	if text == "" && b.station != nil && b.bad == nil {
		var err error
		if text, err = b.station.message(b.templateData()); err != nil {
			b.fail("bad_template", "stations.%s.action_msg: %s", b.named, err)
		}
		text = strings.TrimSpace(valid(text))
		b.supplied(fieldActionMsg, text)
	}
	if text == "" {
		b.lacking(fieldActionMsg, "no_action_msg")
	}
	if strings.ContainsRune(text, utf8.RuneError) && !utf8.Valid(b.payload) {
		b.fail("not_utf8", "action_msg is not UTF-8: %s", b.src.gbkHint())
	}
	var cut bool
	if b.ev.ActionMsg, cut = scan.CutMessage(text); cut {
		b.ev.Marks |= scan.MarkCut
	}
}

func (b *builder) templateData() templateData {
	return templateData{
		Depot:   b.depot,
		Station: templatePlace{b.named, b.station.cfg.Name},
		Event: templateEvent{
			WaybillID: string(b.ev.Waybill), ActionType: b.ev.ActionType, DeviceID: b.ev.DeviceID,
			ActionTime: templateTime{time.Unix(b.ev.ActionTime, 0).In(b.src.zone)},
		},
		payload: func(r rule) string {
			v, _ := b.findBy(r, b.rd.el, b.rd.keys)
			return v.text
		},
	}
}

// identity gives the event its id: the scanner's own, one derived from the time
// as it was sent, or, with neither, one that only this delivery has, beside the
// weak key (README.md of agent/intake, Identity).
func (b *builder) identity() {
	id := b.get(fieldEventID)
	switch {
	case id != "" && len(id) <= scan.MaxID:
		b.ev.EventID = id
		return
	case id != "":
		sum := sha256.Sum256([]byte(id))
		b.ev.EventID = "h" + hex.EncodeToString(sum[:12])
	case b.sent != "":
		b.ev.EventID = scan.DeriveEventID(b.ev.Waybill, b.ev.ActionType, b.sent, b.ev.DeviceID)
	default:
		b.ev.Weak = scan.DeriveWeakKey(b.topic, b.job.payload, b.rd.ordinal)
		b.ev.EventID = b.deliveryID()
	}
	b.ev.Marks |= scan.MarkDerivedID
	b.trace.field(fieldEventID, "derived", "", b.ev.EventID)
}

// deliveryID names this delivery of the event and no other.
func (b *builder) deliveryID() string {
	h := sha256.New()
	h.Write(b.ev.Weak[:])
	var n [24]byte
	binary.BigEndian.PutUint64(n[:], uint64(b.received.UnixNano()))
	binary.BigEndian.PutUint64(n[8:], b.info.Serial)
	if c := b.ev.Clockless; c != nil {
		binary.BigEndian.PutUint64(n[16:], uint64(c.Since))
		h.Write([]byte(c.Boot))
	}
	h.Write(n[:])
	return "w" + hex.EncodeToString(h.Sum(nil)[:12])
}

func (b *builder) check() {
	if err := b.ev.Validate(); err != nil {
		b.fail("bad_field", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}
