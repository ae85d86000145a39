package scan

import (
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"
)

// Bounds of an event's fields. MaxMessage is promised to devices; the others keep
// one event small enough for a gateway and are far above what devices send.
const (
	MaxMessage = 500 // characters of action_msg
	MaxID      = 128 // bytes of event_id and device_id
	MaxName    = 64  // characters of a person's name
	MaxPhone   = 32  // bytes of a phone number
	MaxAddress = 256 // characters of each address field

	// The window in which an action_time is plausible, around a clock that can be
	// believed.
	MaxAhead  = 10 * time.Minute
	MaxBehind = 30 * 24 * time.Hour
)

// PlausibleTime reports whether unix seconds t lie within MaxBehind before and
// MaxAhead after now.
func PlausibleTime(t int64, now time.Time) bool {
	at := time.Unix(t, 0)
	return !at.Before(now.Add(-MaxBehind)) && !at.After(now.Add(MaxAhead))
}

// mobile is what no waybill number looks like unless the carrier says so.
var mobile = regexp.MustCompile(`^1[3-9][0-9]{9}$`)

// LooksLikePhone reports whether s has the form of a Chinese mobile number,
// which gets scanned by mistake.
func LooksLikePhone(s string) bool { return mobile.MatchString(s) }

// Validate reports all that is wrong with the event, joined; nil if nothing is.
// It does not match the waybill number against a pattern: that is configuration.
func (e *Event) Validate() error {
	var errs []error
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(e.Waybill == "", "waybill_id is missing")
	bad(e.EventID == "", "event_id is missing")
	bad(len(e.EventID) > MaxID, "event_id is longer than %d bytes", MaxID)
	bad(len(e.DeviceID) > MaxID, "device_id is longer than %d bytes", MaxID)
	bad(e.ActionType == 0, "action_type is missing")
	bad(e.ActionType != 0 && !e.ActionType.known(), "action_type %d is none of WeChat's codes", int(e.ActionType))
	bad(e.ActionMsg == "", "action_msg is missing")
	bad(utf8.RuneCountInString(string(e.ActionMsg)) > MaxMessage, "action_msg is longer than %d characters", MaxMessage)
	bad(!utf8.ValidString(string(e.ActionMsg)), "action_msg is not UTF-8")
	errs = append(errs, e.Pickup.problems("pickup_courier")...)
	errs = append(errs, e.Delivery.problems("delivery_courier")...)
	return errors.Join(errs...)
}

func (c Courier) problems(key string) (errs []error) {
	if utf8.RuneCountInString(string(c.Name)) > MaxName {
		errs = append(errs, fmt.Errorf("%s_name is longer than %d characters", key, MaxName))
	}
	if len(c.Phone) > MaxPhone {
		errs = append(errs, fmt.Errorf("%s_phone is longer than %d bytes", key, MaxPhone))
	}
	return errs
}

// Validate reports all that pathnotify would refuse in the waybill data
// joined; nil if nothing.
func (w *Waybill) Validate() error {
	var errs []error
	if w.CreateTime <= 0 {
		errs = append(errs, errors.New("create_time is missing"))
	}
	errs = append(errs, w.Sender.problems("sender", false)...)
	errs = append(errs, w.Receiver.problems("receiver", true)...)
	return errors.Join(errs...)
}

func (p Party) problems(key string, person bool) (errs []error) {
	required := func(field string, v Private) {
		if v == "" {
			errs = append(errs, fmt.Errorf("%s.%s is missing", key, field))
		}
	}
	if person {
		required("name", p.Name)
		required("phone", Private(p.Phone))
	}
	required("province", p.Province)
	required("city", p.City)
	required("area", p.Area)
	if len(p.Phone) > MaxPhone {
		errs = append(errs, fmt.Errorf("%s.phone is longer than %d bytes", key, MaxPhone))
	}
	if utf8.RuneCountInString(string(p.Name)) > MaxName {
		errs = append(errs, fmt.Errorf("%s.name is longer than %d characters", key, MaxName))
	}
	for _, f := range []struct {
		name  string
		value Private
	}{{"province", p.Province}, {"city", p.City}, {"area", p.Area}, {"street", p.Street}, {"address", p.Address}, {"id", p.ID}} {
		if utf8.RuneCountInString(string(f.value)) > MaxAddress {
			errs = append(errs, fmt.Errorf("%s.%s is longer than %d characters", key, f.name, MaxAddress))
		}
	}
	return errs
}

// CutMessage returns s with at most MaxMessage characters, and whether any were
// cut.
func CutMessage(s string) (Text, bool) {
	if utf8.RuneCountInString(s) <= MaxMessage {
		return Text(s), false
	}
	return Text([]rune(s)[:MaxMessage]), true
}
