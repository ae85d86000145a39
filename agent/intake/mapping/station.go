package mapping

import (
	"strings"
	"time"
	"unicode/utf8"

	"scanrelay/agent/scan"
)

// station is a compiled Station; it never changes.
type station struct {
	cfg    Station
	parsed *template // nil: action_msg is a plain text
}

func (c *compiler) station(id string, cfg Station) *station {
	key := "stations." + id
	st := &station{cfg: cfg}
	if cfg.ActionType != 0 {
		if err := scan.ActionType(cfg.ActionType).Check(); err != nil {
			c.bad(key+".action_type", "%s", err)
		}
	}
	if strings.Contains(cfg.ActionMsg, "{{") {
		var err error
		if st.parsed, err = parseTemplate(cfg.ActionMsg); err != nil {
			c.bad(key+".action_msg", "is no template: %s; it may use if, else, with, and, or, not, eq, ne, lt, le, gt, ge, print, printf and %s",
				strings.TrimPrefix(err.Error(), "template: "), strings.Join(templateFieldNames(), " "))
		}
	}
	for name, value := range map[string]string{
		"name": cfg.Name, "pickup_courier_name": cfg.PickupCourierName, "delivery_courier_name": cfg.DeliveryCourierName,
	} {
		if utf8.RuneCountInString(value) > scan.MaxName {
			c.bad(key+"."+name, "is longer than %d characters", scan.MaxName)
		}
	}
	for name, value := range map[string]string{
		"pickup_courier_phone": cfg.PickupCourierPhone, "delivery_courier_phone": cfg.DeliveryCourierPhone,
	} {
		if len(value) > scan.MaxPhone {
			c.bad(key+"."+name, "is longer than %d bytes", scan.MaxPhone)
		}
	}
	return st
}

// templateData is what a station's action_msg sees.
type templateData struct {
	Depot   templatePlace
	Station templatePlace
	Event   templateEvent
	payload func(rule) string // what the message has there; nil: there is no message
}

type templatePlace struct{ ID, Name string }

type templateEvent struct {
	WaybillID  string
	ActionType scan.ActionType
	ActionTime templateTime
	DeviceID   string
}

// templateTime prints as 2006-01-02 15:04:05 in the source's zone; Format prints
// it otherwise.
type templateTime struct{ time.Time }

func (t templateTime) String() string { return t.Format(time.DateTime) }

// message fills the station's action_msg.
func (st *station) message(data templateData) (string, error) {
	if st.parsed == nil {
		return st.cfg.ActionMsg, nil
	}
	return st.parsed.execute(data)
}
