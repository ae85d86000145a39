package intake

import (
	"errors"
	"strings"
	"time"

	"scanrelay/agent/scan"
)

// station is a compiled Station; it never changes.
type station struct {
	id     string
	cfg    Station
	plain  bool // action_msg holds no template
	parsed *template
}

// templateData is what a station's action_msg sees.
type templateData struct {
	Depot   templatePlace
	Station templatePlace
	Event   templateEvent
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

func compileStations(stations map[string]Station, p *problems) map[string]*station {
	out := make(map[string]*station, len(stations))
	for id, cfg := range stations {
		key := "stations." + id
		st := &station{id: id, cfg: cfg, plain: !strings.Contains(cfg.ActionMsg, "{{")}
		if cfg.ActionType != 0 && !scan.ActionType(cfg.ActionType).Known() {
			p.add(key+".action_type", "%d is none of WeChat's codes (wechat.md section 4)", cfg.ActionType)
		}
		if !st.plain {
			var err error
			if st.parsed, err = parseTemplate(cfg.ActionMsg); err != nil {
				p.add(key+".action_msg", "%w", err)
			}
		}
		out[id] = st
	}
	return out
}

// message fills the station's action_msg.
func (st *station) message(data templateData) (string, error) {
	if st.plain {
		return st.cfg.ActionMsg, nil
	}
	if st.parsed == nil {
		return "", errors.New("the template is broken")
	}
	return st.parsed.execute(data)
}

// text returns what the station supplies for a field other than action_msg and
// action_type; "" if nothing.
func (st *station) text(f field) string {
	switch f {
	case fieldPickupName:
		return st.cfg.PickupCourierName
	case fieldPickupPhone:
		return st.cfg.PickupCourierPhone
	case fieldDeliveryName:
		return st.cfg.DeliveryCourierName
	case fieldDeliveryPhone:
		return st.cfg.DeliveryCourierPhone
	default:
		return ""
	}
}
