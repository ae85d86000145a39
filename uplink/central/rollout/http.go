package rollout

import (
	"encoding/json"
	"errors"
	"net/http"

	"scanrelay/configs/serve"
	"scanrelay/uplink/central/caller"
)

// maxBody bounds a plan.
const maxBody = 16 << 10

// Operators adds what operators call.
func (s *Service) Operators(mux *http.ServeMux, keys *caller.Keyring) {
	by := func(r *http.Request) Actor {
		a := Actor{Who: caller.Of(r.Context()).Name}
		if from := keys.Proxies().Client(r); from.IsValid() {
			a.From = from.String()
		}
		return a
	}
	mux.HandleFunc("GET /v1/rollouts", keys.Look(caller.Viewer, func(w http.ResponseWriter, r *http.Request) {
		now, past, err := s.Now(r.Context())
		if past == nil {
			past = []Rollout{}
		}
		s.answer(w, map[string]any{"now": now, "past": past}, err)
	}))
	mux.HandleFunc("POST /v1/rollouts", keys.Need(caller.Actor, func(w http.ResponseWriter, r *http.Request) {
		var p Plan
		if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&p) != nil { // whose words may quote it
			serve.Fail(w, http.StatusBadRequest, "the body is not the JSON object that this call takes")
			return
		}
		out, err := s.Start(r.Context(), by(r), p)
		s.answer(w, out, err)
	}))
	mux.HandleFunc("POST /v1/rollouts/{action}", keys.Need(caller.Actor, func(w http.ResponseWriter, r *http.Request) {
		out, err := s.Act(r.Context(), by(r), r.PathValue("action"))
		s.answer(w, out, err)
	}))
}

func (s *Service) answer(w http.ResponseWriter, out any, err error) {
	switch {
	case err == nil:
		serve.JSON(w, http.StatusOK, out)
	case errors.Is(err, ErrRefused):
		serve.Fail(w, http.StatusConflict, err.Error())
	default:
		s.tell("rollouts", err)
		w.Header().Set("Retry-After", "5")
		serve.Fail(w, http.StatusServiceUnavailable, "the centre cannot use its store now")
	}
}
