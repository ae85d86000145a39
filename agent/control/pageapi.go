package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"scanrelay/agent/control/door"
	"scanrelay/agent/control/lately"
	"scanrelay/configs/serve"
	"scanrelay/store"
	"scanrelay/uplink/syncapi/health"
)

// Bounds of what the page shows of a list, and how many looks go through the whole store
// at once.
const (
	shownDead     = 200 // the oldest
	shownRejected = 100 // the newest
	shownPayload  = 500 // bytes of each
	maxLooks      = 2
)

// pageAPI is what the page asks for; all of it is masked.
func (l *local) pageAPI(mux *http.ServeMux, d *door.Door) {
	look := func(path string, h http.HandlerFunc) { mux.HandleFunc("GET /api/"+path, d.Look(h, door.Shut)) }
	look("status", func(w http.ResponseWriter, _ *http.Request) { serve.JSON(w, http.StatusOK, l.Status()) })
	look("words", func(w http.ResponseWriter, _ *http.Request) { serve.JSON(w, http.StatusOK, health.Words) })
	mux.HandleFunc("POST /api/chinese", d.Look(l.chinese, door.Shut))
	if l.Lately != nil {
		look("scans", func(w http.ResponseWriter, _ *http.Request) { serve.JSON(w, http.StatusOK, l.Lately.Scans()) })
		look("history", l.history)
	}
	looks := make(chan struct{}, maxLooks)
	for path, h := range map[string]http.HandlerFunc{"trace": l.trace, "deadletters": l.firstDead, "quarantine": l.lastRejected} {
		look(path, func(w http.ResponseWriter, r *http.Request) {
			select {
			case looks <- struct{}{}:
				defer func() { <-looks }()
				h(w, r)
			default:
				w.Header().Set("Retry-After", "5")
				serve.Fail(w, http.StatusTooManyRequests, "others are looking through the store: try again in a moment")
			}
		})
	}
	mux.HandleFunc("POST /api/deadletters/retry", d.Act(l.retry))
	mux.HandleFunc("POST /api/deadletters/discard", d.Act(l.discard))
	mux.HandleFunc("POST /api/quarantine/replay", d.Act(l.replay))
}

// Bounds of what is asked for in Chinese at once.
const (
	maxTexts     = 100
	maxTextsBody = 256 << 10
)

// chinese says reasons, as the agent gives them, in Chinese.
func (l *local) chinese(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Texts []string `json:"texts"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTextsBody)).Decode(&asked); err != nil || len(asked.Texts) > maxTexts {
		serve.Fail(w, http.StatusBadRequest, "these are too many texts, or none")
		return
	}
	for i, text := range asked.Texts {
		if l.Chinese != nil {
			asked.Texts[i] = l.Chinese(text)
		}
	}
	serve.JSON(w, http.StatusOK, asked.Texts)
}

// history is what happened, and what it costs the medium.
func (l *local) history(w http.ResponseWriter, _ *http.Request) {
	h := struct {
		lately.History
		WrittenPerDay int64 `json:"written_per_day"` // bytes; 0: not known
		LifeUsed      int   `json:"life_used"`       // per cent; 0: not known
	}{History: l.Lately.History()}
	if l.Wear != nil {
		h.WrittenPerDay, h.LifeUsed = l.Wear()
	}
	serve.JSON(w, http.StatusOK, h)
}

// errEnough ends a scan that has shown all it may.
var errEnough = errors.New("enough is shown")

// listed is a part of a list.
type listed[T any] struct {
	List []T  `json:"list"`
	More bool `json:"more"`
}

func (l *local) firstDead(w http.ResponseWriter, r *http.Request) {
	l.stream(w, false, func(line func(any) error) error {
		out := listed[Node]{List: []Node{}}
		err := scanDead(r.Context(), l.Outbox, func(rec *store.Record) error {
			if out.More = len(out.List) == shownDead; out.More {
				return errEnough
			}
			out.List = append(out.List, NodeOf(rec, false))
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		return line(out)
	})
}

func (l *local) lastRejected(w http.ResponseWriter, r *http.Request) {
	l.stream(w, false, func(line func(any) error) error {
		out, err := newestRejected(r.Context(), l.Outbox)
		if err != nil {
			return err
		}
		return line(out)
	})
}

// rejectedText is an entry of the quarantine whose payload is a text.
type rejectedText struct {
	Event
	Topic string `json:"topic"`
	Text  string `json:"text"`
}

func newestRejected(ctx context.Context, reader Reader) (out listed[rejectedText], err error) {
	var all []store.Quarantined
	err = reader.Quarantine(ctx, func(q store.Quarantined) error {
		if len(q.Payload) > shownPayload { // and no part of a number, which would pass for a short one
			q.Payload = bytes.TrimRight(q.Payload[:shownPayload], "0123456789")
		}
		q.Payload = bytes.Clone(q.Payload)
		if all = append(all, q); len(all) > shownRejected {
			all, out.More = all[1:], true
		}
		return nil
	})
	out.List = []rejectedText{}
	for i := len(all) - 1; i >= 0; i-- {
		r := RejectedOf(&all[i], false)
		out.List = append(out.List, rejectedText{r.Event, r.Topic, string(r.Payload)})
	}
	return out, err
}
