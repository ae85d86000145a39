package waybills

import (
	"net/http"

	"scanrelay/agent/scan"
	"scanrelay/configs/serve"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/syncapi"
)

// View is the answer of GET /v1/waybills/{id}.
type View struct {
	WaybillID  string `json:"waybill_id"`
	CreateTime *int64 `json:"create_time"` // null: no waybill data yet
	Sender     any    `json:"sender"`
	Receiver   any    `json:"receiver"`
	Nodes      []Node `json:"nodes"`
}

// Node is one node of a View.
type Node struct {
	Depot      string `json:"depot"`
	EventID    string `json:"event_id"`
	ActionTime int64  `json:"action_time"`
	ActionType int    `json:"action_type"`
	ActionMsg  string `json:"action_msg"`
	Late       bool   `json:"late"`
	Parcel     string `json:"parcel,omitempty"` // the number scanned, of a shipment of several parcels
}

// View is GET /v1/waybills/{id}. Personal data is masked as everywhere people
// look; ?reveal=true shows it.
func (h *Handler) View(w http.ResponseWriter, r *http.Request) {
	wb, ok, err := h.o.Store.Lookup(r.Context(), scan.NormalizeWaybill(r.PathValue("id")))
	switch {
	case err != nil:
		h.o.Logger.Error("show a waybill", "error", err)
		serve.Fail(w, http.StatusServiceUnavailable, "the centre cannot read its store now")
	case !ok:
		serve.Fail(w, http.StatusNotFound, "no such waybill")
	default:
		serve.JSON(w, http.StatusOK, viewWaybill(&wb, Reveals(r)))
	}
}

// Reveals reports whether a request asks for personal data in clear.
func Reveals(r *http.Request) bool {
	reveal := r.URL.Query().Get("reveal")
	return reveal == "true" || reveal == "1"
}

func viewWaybill(wb *snapshot.Waybill, reveal bool) View {
	v := View{WaybillID: string(wb.ID), Nodes: make([]Node, len(wb.Nodes))}
	if wb.Data != nil {
		data := *wb.Data
		if !reveal {
			data.Sender, data.Receiver = maskParty(data.Sender), maskParty(data.Receiver)
		}
		wire := syncapi.FromWaybill(data)
		v.CreateTime, v.Sender, v.Receiver = &wire.CreateTime, wire.Sender, wire.Receiver
	}
	for i, n := range wb.Nodes {
		msg := n.ActionMsg.String()
		if reveal {
			msg = n.ActionMsg.Reveal()
		}
		v.Nodes[i] = Node{
			Depot: string(n.Depot), EventID: n.EventID, ActionTime: n.ActionTime, ActionType: int(n.ActionType),
			ActionMsg: msg, Late: n.Late, Parcel: string(n.Parcel),
		}
	}
	return v
}

// maskParty keeps the region, which alone tells nothing about a person.
func maskParty(p scan.Party) scan.Party {
	mask := func(v scan.Private) scan.Private { return scan.Private(v.String()) }
	return scan.Party{
		Name: mask(p.Name), Phone: scan.Phone(p.Phone.String()), Province: p.Province, City: p.City, Area: p.Area,
		Street: mask(p.Street), Address: mask(p.Address), ID: mask(p.ID),
	}
}
