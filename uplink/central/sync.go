package central

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/serve"
	"scanrelay/uplink/syncapi"
)

// slotWait is how long a sync waits for its turn before it is told to come again.
const slotWait = 5 * time.Second

// serveSync is POST /v1/sync.
func (c *Central) serveSync(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	depot, status, why := c.keys.Depot(r)
	if status != http.StatusOK {
		c.meters.sync(status, start)
		if more, due := c.refused.Due(c.o.Now()); due {
			c.o.Logger.Warn("refused a depot", "why", why, "address", c.proxies.Client(r).String(), "refused_since_last_line", more+1)
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
		serve.Fail(w, refusal.status, refusal.why)
	case r.Context().Err() != nil:
		c.meters.sync(499, start) // the depot went away; nobody reads an answer
	default:
		c.meters.sync(http.StatusServiceUnavailable, start)
		c.o.Logger.Error("sync a depot", "depot", string(depot), "err", err)
		w.Header().Set("Retry-After", "5")
		serve.Fail(w, http.StatusServiceUnavailable, "the centre cannot take events now")
	}
}

// refusal is an error that the depot is told.
type refusal struct {
	status int
	why    string
}

func (e *refusal) Error() string { return e.why }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

func (c *Central) sync(w http.ResponseWriter, r *http.Request, depot scan.DepotID) (*syncapi.Response, error) {
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	release, err := c.slot(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	req, err := decodeSync(body, r.Header.Get("Content-Encoding"))
	if err != nil {
		return nil, err
	}
	return c.answerSync(r.Context(), depot, req)
}

// slot waits for one of the places in which requests are decoded.
func (c *Central) slot(ctx context.Context) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, slotWait)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, refuse(http.StatusServiceUnavailable, "the centre is overloaded, try again")
	}
}
