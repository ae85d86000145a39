package central

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/serve"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
)

// serveSync is POST /v1/sync.
func (c *Central) serveSync(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	depot, _, status, why := c.keys.Depot(r)
	if status != http.StatusOK {
		c.meters.sync(status, start)
		if more, due := c.refused.Due(c.o.Now()); due {
			c.o.Logger.Warn("refused a depot", "why", why, "address", c.keys.Proxies().Client(r).String(), "refused_since_last_line", more+1)
		}
		switch status {
		case http.StatusTooManyRequests:
			w.Header().Set("Retry-After", "60")
		case http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", "5")
		}
		serve.Fail(w, status, why)
		return
	}
	resp, err := c.sync(w, r, depot)
	var refusal *refusal
	switch {
	case err == nil:
		c.meters.sync(http.StatusOK, start)
		writeZipped(w, r, resp)
	case errors.As(err, &refusal):
		c.meters.sync(refusal.status, start)
		if refusal.status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
		serve.JSON(w, refusal.status, syncapi.Failure{Error: refusal.why, Directives: refusal.directives})
	case r.Context().Err() != nil:
		c.meters.sync(499, start) // the depot went away; nobody reads an answer
	default:
		c.meters.sync(http.StatusServiceUnavailable, start)
		if more, due := c.failed.Due(c.o.Now()); due {
			c.o.Logger.Error("sync a depot", "depot", string(depot), "error", err, "failed_since_last_line", more)
		}
		w.Header().Set("Retry-After", "5")
		serve.Fail(w, http.StatusServiceUnavailable, "the centre cannot take events now")
	}
}

// refusal is an error that the depot is told.
type refusal struct {
	status     int
	why        string
	directives *directive.Directives // beside a 409
}

func (e *refusal) Error() string { return e.why }

func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, why: fmt.Sprintf(format, args...)}
}

func (c *Central) sync(w http.ResponseWriter, r *http.Request, depot scan.DepotID) (resp *syncapi.Response, err error) {
	var said *syncapi.Request
	defer func() { // a depot that is refused is there all the same
		var refused *refusal
		if errors.As(err, &refused) {
			c.presence.Refused(r.Context(), depot, said, refused.status < http.StatusInternalServerError)
		}
	}()
	leave, err := c.slots.depot(depot)
	if err != nil {
		return nil, err
	}
	defer leave()
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	release, err := take(r.Context(), c.slots.all)
	if err != nil {
		return nil, err
	}
	defer release()
	body, release, err = c.slots.plain(r.Context(), body, r.Header.Get("Content-Encoding"))
	if err != nil {
		return nil, err
	}
	defer release()
	req, err := decodeSync(body)
	var refused *refusal
	if errors.As(err, &refused) && refused.status == http.StatusConflict {
		said = req
		refused.directives = c.direct(r.Context(), depot, req)
	}
	if err != nil {
		return nil, err
	}
	return c.answerSync(r.Context(), depot, req)
}
