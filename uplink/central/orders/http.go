package orders

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"scanrelay/agent/scan"
	"scanrelay/configs/serve"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/syncapi/order"
)

// maxBody is room for a call that names as many events as may be.
const maxBody = 128 << 10

// eventID is how depots name their events.
var eventID = regexp.MustCompile(`^[0-9a-f]{16}-[0-9]{1,20}$`)

// list is ids, or the word all.
type list struct {
	ids []string
	all bool
}

func (l *list) UnmarshalJSON(text []byte) error {
	if string(text) == `"all"` {
		l.all = true
		return nil
	}
	return json.Unmarshal(text, &l.ids)
}

// DeadLetters is POST /v1/depots/{id}/deadletters. known tells whether there is such a depot.
func (s *Orders) DeadLetters(keys *caller.Keyring, known func(*http.Request, scan.DepotID) (bool, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		depot := scan.DepotID(r.PathValue("id"))
		o, why := read(w, r)
		if why != "" {
			serve.Fail(w, http.StatusBadRequest, why)
			return
		}
		there, err := known(r, depot)
		switch {
		case err != nil:
			s.away(w, err)
			return
		case !there:
			serve.Fail(w, http.StatusNotFound, "there is no such depot")
			return
		}
		// It is noted before it is done: what nobody could trace must not happen.
		by := caller.Of(r.Context()).Name
		err = s.o.Audit.Add(audit.Entry{
			Who: by, From: from(keys, r), Action: "deadletters." + o.Do, Depot: string(depot), Result: audit.OK, Detail: detail(o),
		})
		if err != nil {
			s.o.Logger.Error("write the audit log", "error", err)
			serve.Fail(w, http.StatusServiceUnavailable, "what is ordered must be noted, and the audit log cannot be written now")
			return
		}
		g, _, err := s.Give(r.Context(), depot, o, by)
		switch {
		case errors.Is(err, ErrTooMany):
			serve.Fail(w, http.StatusConflict, fmt.Sprintf("the depot has %d orders that it has not done yet, which is as many as may be", order.MaxOpen))
		case err != nil:
			s.away(w, err)
		default:
			serve.JSON(w, http.StatusOK, g)
		}
	}
}

// from is the address of who calls; "": on this machine's socket.
func from(keys *caller.Keyring, r *http.Request) string {
	if at := keys.Proxies().Client(r); at.IsValid() {
		return at.String()
	}
	return ""
}

func (s *Orders) away(w http.ResponseWriter, err error) {
	s.o.Logger.Error("give a depot an order", "error", err)
	w.Header().Set("Retry-After", "5")
	serve.Fail(w, http.StatusServiceUnavailable, "the centre cannot use its store now")
}

// read reads an order; why it is none.
func read(w http.ResponseWriter, r *http.Request) (o order.Order, why string) {
	var body struct {
		IDs    list
		All    bool
		Action string
		Reason string
	}
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&body) != nil { // whose words may quote it
		return o, `want {"ids": ["<epoch>-<seq>", …] or "all", "action": "retry" or "discard", "reason": "…"}`
	}
	o = order.Order{Do: body.Action, Events: body.IDs.ids, All: body.All || body.IDs.all, Reason: body.Reason}
	switch {
	case o.Do != order.Retry && o.Do != order.Discard:
		return o, "action must be retry or discard"
	case o.All == (len(o.Events) > 0):
		return o, "want ids, or all"
	case len(o.Events) > order.MaxEvents:
		return o, fmt.Sprintf("at most %d ids are taken", order.MaxEvents)
	case o.Do == order.Discard && o.Reason == "":
		return o, "a discard needs a reason"
	case len([]rune(o.Reason)) > order.MaxText:
		return o, fmt.Sprintf("reason has more than %d characters", order.MaxText)
	}
	for _, id := range o.Events {
		if !eventID.MatchString(id) {
			return o, "ids: one is no event's, as deadletter list shows them"
		}
	}
	return o, ""
}

func detail(o order.Order) string {
	what := fmt.Sprintf("%d events", len(o.Events))
	if o.All {
		what = "all"
	}
	if o.Reason != "" {
		what += ": " + o.Reason
	}
	return what
}
