package settings

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"scanrelay/agent/scan"
	"scanrelay/configs/serve"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/syncapi/directive"
)

// Reported is what became of a configuration at depots that have heard of it.
type Reported struct {
	Applied   int `json:"applied"`
	Trying    int `json:"trying"`
	TakenBack int `json:"taken_back"`
}

// Operators adds what operators call. states are what depots say.
func (s *Service) Operators(mux *http.ServeMux, keys *caller.Keyring, states func(*http.Request) ([]*directive.ConfigState, error)) {
	from := func(r *http.Request) string {
		if at := keys.Proxies().Client(r); at.IsValid() {
			return at.String()
		}
		return ""
	}
	mux.HandleFunc("PUT /v1/configs/{name}", keys.Need(caller.Actor, func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Selector Selector `json:"selector"`
			directive.Body
		}
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, directive.MaxBody+8<<10))
		if d.DisallowUnknownFields(); d.Decode(&body) != nil { // whose words may quote it
			serve.Fail(w, http.StatusBadRequest, "the body is not an object of selector, sources, stations, notify and log, of which nothing else can be given")
			return
		}
		e, err := s.Put(r.Context(), caller.Of(r.Context()).Name, from(r), r.PathValue("name"), body.Selector, body.Body)
		s.answer(w, e, err)
	}))
	mux.HandleFunc("DELETE /v1/configs/{name}", keys.Need(caller.Actor, func(w http.ResponseWriter, r *http.Request) {
		err := s.Delete(r.Context(), caller.Of(r.Context()).Name, from(r), r.PathValue("name"))
		s.answer(w, map[string]any{}, err)
	}))
	mux.HandleFunc("GET /v1/configs", keys.Look(caller.Viewer, func(w http.ResponseWriter, r *http.Request) {
		said, err := states(r)
		type view struct {
			Entry
			Depots Reported `json:"depots"`
		}
		list := []view{}
		for _, e := range s.List() {
			v := view{Entry: e}
			for _, c := range said {
				if c.Revision != e.Revision {
					continue
				}
				switch c.State {
				case directive.Applied:
					v.Depots.Applied++
				case directive.Trying:
					v.Depots.Trying++
				case directive.TakenBack:
					v.Depots.TakenBack++
				}
			}
			list = append(list, v)
		}
		s.answer(w, map[string]any{"configs": list}, err)
	}))
}

func (s *Service) answer(w http.ResponseWriter, out any, err error) {
	switch {
	case err == nil:
		serve.JSON(w, http.StatusOK, out)
	case errors.Is(err, ErrUnknown):
		serve.Fail(w, http.StatusNotFound, err.Error())
	case errors.Is(err, ErrRefused):
		serve.Fail(w, http.StatusBadRequest, err.Error())
	default:
		s.tell(err)
		w.Header().Set("Retry-After", "5")
		serve.Fail(w, http.StatusServiceUnavailable, "the centre cannot use its store now")
	}
}

// Gateway serves GET /v1/config?revision=N to a depot: the one that it is to have.
func (s *Service) Gateway(depot func(r *http.Request) (scan.DepotID, caller.By, int, string), about func(*http.Request, scan.DepotID) (site string, labels map[string]string, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, _, status, why := depot(r)
		if status != http.StatusOK {
			serve.Fail(w, status, why)
			return
		}
		leave, ok := s.places.Take(string(id))
		if !ok {
			w.Header().Set("Retry-After", "30")
			serve.Fail(w, http.StatusServiceUnavailable, "as many gateways fetch their configuration as may: try again")
			return
		}
		defer leave()
		site, labels, err := about(r, id)
		if err != nil {
			s.answer(w, nil, err)
			return
		}
		d := s.Of(id, site, labels)
		var content []byte
		if d != nil && strconv.FormatInt(d.Revision, 10) == r.URL.Query().Get("revision") {
			content, err = s.Text(r.Context(), d)
		}
		switch {
		case err != nil:
			s.answer(w, nil, err)
		case content == nil:
			serve.Fail(w, http.StatusNotFound, "this is not the revision that the depot is to have")
		default:
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			_, _ = w.Write(content) // a depot that has gone away asks again
		}
	}
}
