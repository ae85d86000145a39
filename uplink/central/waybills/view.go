package waybills

import (
	"context"
	"net/http"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/serve"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/looks"
	"scanrelay/uplink/syncapi"
)

// View is the answer of GET /v1/waybills/{id}.
type View struct {
	WaybillID  string `json:"waybill_id"`
	CreateTime *int64 `json:"create_time"` // null: no waybill data yet
	Sender     any    `json:"sender"`
	Receiver   any    `json:"receiver"`
	Nodes      []Node `json:"nodes"`
	Life       Life   `json:"life"`
	// Lookups are WeChat's last ones that this process answered, since it started.
	Lookups []looks.Lookup `json:"lookups"`
	// Pushes are what depots have told of their scans; those that were asked just now,
	// and have not answered yet, are in Asked.
	Pushes []looks.Push   `json:"pushes"`
	Asked  []scan.DepotID `json:"asked"`
}

// Life is where the present life of the number begins, null in the first one, when the
// waybill changed last, and until when it is kept if nothing changes it.
type Life struct {
	Since   *time.Time `json:"since"`
	Changed time.Time  `json:"changed"`
	Until   time.Time  `json:"until"`
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
	v, err := h.Look(r.Context(), r.PathValue("id"), Reveals(r))
	switch {
	case err != nil:
		h.o.Logger.Error("show a waybill", "error", err)
		serve.Fail(w, http.StatusServiceUnavailable, "the centre cannot read its store now")
	case v == nil:
		serve.Fail(w, http.StatusNotFound, "no such waybill")
	default:
		serve.JSON(w, http.StatusOK, v)
	}
}

// Look is all that is known of a waybill; nil: it was never heard of. Depots are asked what
// became of their scans.
func (h *Handler) Look(ctx context.Context, number string, reveal bool) (*View, error) {
	wb, ok, err := h.o.Store.Lookup(ctx, scan.NormalizeWaybill(number))
	if err != nil || !ok {
		return nil, err
	}
	v := viewWaybill(&wb, reveal)
	v.Life.Until = v.Life.Changed.Add(h.o.Retain())
	v.Lookups = h.o.Lookups.Of(wb.ID)
	var depots []scan.DepotID
	for _, n := range wb.Nodes {
		if n.Parcel == "" && !slices.Contains(depots, n.Depot) { // parcels' scans are not pushed
			depots = append(depots, n.Depot)
		}
	}
	known, err := h.o.Looks.At(ctx, wb.ID, depots)
	if err != nil { // what is known here is shown all the same
		h.o.Logger.Error("ask depots about a waybill", "error", err)
	}
	v.Pushes, v.Asked = known.Pushes, known.Asked
	return &v, nil
}

// Reveals reports whether a request asks for personal data in clear.
func Reveals(r *http.Request) bool {
	reveal := r.URL.Query().Get("reveal")
	return reveal == "true" || reveal == "1"
}

func viewWaybill(wb *snapshot.Waybill, reveal bool) View {
	v := View{WaybillID: string(wb.ID), Nodes: make([]Node, len(wb.Nodes)), Life: Life{Changed: wb.Changed.UTC()}}
	if !wb.Life.IsZero() {
		since := wb.Life.UTC()
		v.Life.Since = &since
	}
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
