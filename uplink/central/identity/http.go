package identity

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/serve"
	"scanrelay/configs/wait"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/orders"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
	"scanrelay/uplink/syncapi/health"
)

// Gateways adds what gateways call.
func (s *Service) Gateways(mux *http.ServeMux) {
	mux.HandleFunc("POST "+syncapi.EnrolPath, s.gateway("depot.enrol", s.serveEnrol))
	mux.HandleFunc("POST "+syncapi.NoncePath, s.gateway("depot.nonce", s.serveNonce))
	mux.HandleFunc("POST "+syncapi.SessionPath, s.gateway("depot.session", s.serveSession))
}

// callLimit is how long a gateway waits for its answer.
const callLimit = 15 * time.Second

// gateway serves a gateway's call, by https or on this machine only.
func (s *Service) gateway(action string, do func(w http.ResponseWriter, r *http.Request) (scan.DepotID, any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		proxies := s.o.Keys.Proxies()
		if !proxies.HTTPS(r) && !proxies.Client(r).IsLoopback() {
			serve.Fail(w, http.StatusForbidden, "https is demanded: call the centre by https (a TLS proxy must be in trusted_proxies and set X-Forwarded-Proto)")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), callLimit)
		defer cancel()
		r = r.WithContext(ctx)
		id, out, err := do(w, r)
		var refusal *Refusal
		if errors.As(err, &refusal) && refusal.Status == http.StatusUnauthorized {
			if s.wrong.TooMany(r) {
				err = refuse(http.StatusTooManyRequests, "too many wrong tokens or signatures: try again in a minute")
			} else {
				s.wrong.Wrong(r)
				if from := s.from(r); s.o.Keys.MayTell(from) {
					s.note(Actor{"a stranger", from}, action, id, audit.Refused, refusal.Why)
				}
			}
		}
		s.answer(w, out, err)
	}
}

func (s *Service) answer(w http.ResponseWriter, out any, err error) {
	var refusal *Refusal
	switch {
	case err == nil:
		serve.JSON(w, http.StatusOK, out)
	case errors.As(err, &refusal):
		switch refusal.Status {
		case http.StatusTooManyRequests:
			w.Header().Set("Retry-After", "60")
		case http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", "5")
		}
		serve.Fail(w, refusal.Status, refusal.Why)
	default:
		if more, due := s.failed.Due(s.o.Now()); due {
			s.o.Logger.Error("depots' identities", "error", err, "failed_since_last_line", more)
		}
		w.Header().Set("Retry-After", "5")
		serve.Fail(w, http.StatusServiceUnavailable, "the centre cannot use its store now")
	}
}

func (s *Service) from(r *http.Request) string {
	if at := s.o.Keys.Proxies().Client(r); at.IsValid() {
		return at.String()
	}
	return ""
}

func (s *Service) serveEnrol(w http.ResponseWriter, r *http.Request) (scan.DepotID, any, error) {
	var req syncapi.Enrol
	if err := read(w, r, &req); err != nil {
		return "", nil, err
	}
	var by caller.By
	if req.Token == "" {
		id, how, status, why := s.o.Keys.Depot(r)
		switch {
		case status != http.StatusOK:
			return req.Depot, nil, refuse(status, "%s", why)
		case id != req.Depot:
			return req.Depot, nil, refuse(http.StatusForbidden, "the credential is another depot's")
		}
		by = how
	}
	out, err := s.Enrol(r.Context(), s.from(r), &req, by)
	return req.Depot, out, err
}

func (s *Service) serveNonce(w http.ResponseWriter, r *http.Request) (scan.DepotID, any, error) {
	var req syncapi.AskNonce
	if err := read(w, r, &req); err != nil {
		return "", nil, err
	}
	if !req.Depot.Valid() {
		return "", nil, refuse(http.StatusBadRequest, "depot is no depot id")
	}
	nonce, life := s.Nonce(req.Depot)
	return req.Depot, syncapi.Nonce{Nonce: nonce, ExpiresIn: int64(life / time.Second)}, nil
}

func (s *Service) serveSession(w http.ResponseWriter, r *http.Request) (scan.DepotID, any, error) {
	var req syncapi.Prove
	if err := read(w, r, &req); err != nil {
		return "", nil, err
	}
	out, err := s.Session(r.Context(), s.from(r), &req)
	return req.Depot, out, err
}

// read decodes a small body.
func read(w http.ResponseWriter, r *http.Request, into any) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, syncapi.MaxIdentityBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return refuse(http.StatusRequestEntityTooLarge, "the body has more than %d bytes", large.Limit)
	case err != nil:
		return refuse(http.StatusBadRequest, "the body broke off")
	case len(data) > 0 && json.Unmarshal(data, into) != nil: // whose error would quote it
		return refuse(http.StatusBadRequest, "the body is not the JSON object that this call takes")
	}
	return nil
}

// Operators adds what operators call. own are alarms of no depot.
func (s *Service) Operators(mux *http.ServeMux, heard Heard, own func() []Alarm) {
	look := func(path string, role caller.Role, do func(*http.Request) (any, error)) {
		mux.HandleFunc("GET "+path, s.o.Keys.Look(role, func(w http.ResponseWriter, r *http.Request) {
			out, err := do(r)
			s.answer(w, out, err)
		}))
	}
	act := func(path string, do func(w http.ResponseWriter, r *http.Request, by Actor) (any, error)) {
		mux.HandleFunc("POST "+path, s.o.Keys.Need(caller.Admin, func(w http.ResponseWriter, r *http.Request) {
			out, err := do(w, r, Actor{Who: caller.Of(r.Context()).Name, From: s.from(r)})
			s.answer(w, out, err)
		}))
	}
	list := func(path string, role caller.Role, write func(w http.ResponseWriter, r *http.Request, asked time.Time) error) {
		mux.HandleFunc("GET "+path, s.o.Keys.Look(role, func(w http.ResponseWriter, r *http.Request) {
			asked := time.Now()
			done, err := s.placeOfList(r.Context())
			if err == nil {
				defer done()
				err = write(w, r, asked)
			}
			if err != nil {
				s.answer(w, nil, err)
			}
		}))
	}
	list("/v1/depots", caller.Viewer, func(w http.ResponseWriter, r *http.Request, asked time.Time) error {
		all, err := heard.All(r.Context(), asked)
		if err == nil {
			serve.List(w, "depots", func(yield func(View) bool) {
				all(func(r *Registration, c Contact) bool { return yield(s.show(r, c)) })
			})
		}
		return err
	})
	look("/v1/depots/{id}", caller.Viewer, func(r *http.Request) (any, error) {
		return s.view(r.Context(), heard, scan.DepotID(r.PathValue("id")))
	})
	list("/v1/alarms", caller.Viewer, func(w http.ResponseWriter, r *http.Request, asked time.Time) error {
		all, err := heard.All(r.Context(), asked)
		if err == nil {
			serve.List(w, "alarms", s.alarms(own(), all))
		}
		return err
	})
	list("/v1/audit", caller.Admin, s.serveAudit)
	act("/v1/depots", func(w http.ResponseWriter, r *http.Request, by Actor) (any, error) {
		var d Depot
		if err := read(w, r, &d); err != nil {
			return nil, err
		}
		return s.Add(r.Context(), by, d)
	})
	act("/v1/depots/{id}/reset", func(_ http.ResponseWriter, r *http.Request, by Actor) (any, error) {
		return s.Reset(r.Context(), by, scan.DepotID(r.PathValue("id")))
	})
	act("/v1/depots/{id}/revoke", func(w http.ResponseWriter, r *http.Request, by Actor) (any, error) {
		var why struct{ Reason string }
		if err := read(w, r, &why); err != nil {
			return nil, err
		}
		return struct{}{}, s.Revoke(r.Context(), by, scan.DepotID(r.PathValue("id")), why.Reason)
	})
	act("/v1/join-tokens", func(w http.ResponseWriter, r *http.Request, by Actor) (any, error) {
		var k struct {
			Uses int
			IDs  string
		}
		if err := read(w, r, &k); err != nil {
			return nil, err
		}
		return s.Join(r.Context(), by, k.Uses, k.IDs)
	})
}

// some is a list that JSON shows as one when it is empty.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// alarms are first those of no depot, then each depot's.
func (s *Service) alarms(own []Alarm, all iter.Seq2[*Registration, Contact]) iter.Seq[Alarm] {
	return func(yield func(Alarm) bool) {
		for _, a := range own {
			if !yield(a) {
				return
			}
		}
		for r, c := range all {
			for _, a := range append(s.AlarmsOf(r), c.Alarms...) {
				if !yield(a) {
					return
				}
			}
		}
	}
}

// An answer about all depots, or of the whole audit log, takes megabytes while it is
// written, as long as who asked reads it: so many are written at once.
const (
	maxLists = 4
	listWait = 20 * time.Second
)

func (s *Service) placeOfList(ctx context.Context) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	select {
	case s.lists <- struct{}{}:
		return func() { <-s.lists }, nil
	case <-ctx.Done():
		return nil, refuse(http.StatusServiceUnavailable, "%d others read such a list now, which is as many as may: try again", maxLists)
	}
}

// maxAudit bounds one answer; the newest count.
const maxAudit = 10_000

func (s *Service) serveAudit(w http.ResponseWriter, r *http.Request, _ time.Time) error {
	since, err := parseSince(r.URL.Query().Get("since"), s.o.Now())
	if err != nil {
		return refuse(http.StatusBadRequest, "since must be a duration as 24h, a time as 2026-11-30T08:00:00Z, or unix seconds")
	}
	var lines []json.RawMessage
	err = s.o.Audit.Since(since, func(line json.RawMessage) error {
		if lines = append(lines, line); len(lines) >= 2*maxAudit {
			lines = slices.Delete(lines, 0, maxAudit)
		}
		return nil
	})
	if err == nil {
		serve.List(w, "entries", slices.Values(lines[max(0, len(lines)-maxAudit):]))
	}
	return err
}

func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := wait.ParseDuration(text); err == nil {
		return now.Add(-d.Abs()), nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	return time.Parse(time.RFC3339, text)
}

// Heard tells when depots were heard of last, and of which version they were.
type Heard interface {
	// All tells it of all depots as it was at that moment or later, in the order of ids,
	// each with its registration, empty but for the id where it has none.
	All(ctx context.Context, at time.Time) (iter.Seq2[*Registration, Contact], error)
	// One tells it of one without a look at the others; false: there is no such depot.
	One(ctx context.Context, id scan.DepotID) (Contact, bool, error)
}

// Contact is what a depot's last sync said.
type Contact struct {
	At      time.Time
	Version string
	OSArch  string
	Away    bool
	Health  *health.Report // nil: it said nothing
	Alarms  []Alarm
	Update  *directive.UpdateState
	Config  *directive.ConfigState
	Orders  []orders.Given // asked of one depot alone
}

// View is a depot as GET /v1/depots shows it.
type View struct {
	ID          scan.DepotID      `json:"id"`
	Name        string            `json:"name"`
	Site        string            `json:"site"`
	Labels      map[string]string `json:"labels"`
	State       string            `json:"state"` // invited, enrolled, revoked, damaged; static: in the configuration only
	Key         string            `json:"key,omitempty"`
	Enrolled    *time.Time        `json:"enrolled"`
	Expires     *time.Time        `json:"token_expires"` // of a token that waits to be used
	Revoked     *time.Time        `json:"revoked"`
	Reason      string            `json:"reason,omitempty"`
	Past        []PastKey         `json:"past_keys,omitempty"`
	Version     string            `json:"version"`
	OSArch      string            `json:"os_arch"`
	LastContact *time.Time        `json:"last_contact"`
	Connected   bool              `json:"connected"`
	Alarms      []Alarm           `json:"alarms"`
	// What its last sync said of itself; null where it said nothing.
	Lag     *int64                 `json:"lag_seconds"` // age of the oldest event that waits
	Pending *health.Pending        `json:"pending"`
	Outcome *health.Outcome        `json:"outcome"`
	Clock   string                 `json:"clock"`
	Store   *health.Store          `json:"store"`
	Update  *directive.UpdateState `json:"update"`
	Config  *directive.ConfigState `json:"config,omitempty"`
	Orders  []orders.Given         `json:"orders,omitempty"` // what operators want done there; of one depot alone
}

func (s *Service) view(ctx context.Context, heard Heard, id scan.DepotID) (any, error) {
	c, ok, err := heard.One(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := s.Registration(ctx, id)
	if err != nil {
		return nil, err
	}
	if r == nil && !ok {
		return nil, refuse(http.StatusNotFound, "no depot %q is registered", id)
	}
	if r == nil {
		r = &Registration{ID: id}
	}
	return s.show(r, c), nil
}

func (s *Service) show(r *Registration, c Contact) View {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC().Truncate(time.Second)
		return &t
	}
	v := View{
		ID: r.ID, Name: r.Name, Site: r.Site, Labels: r.Labels, State: r.State(), Enrolled: at(r.Enrolled), Revoked: at(r.Revoked),
		Reason: r.Reason, Past: r.Past, Version: c.Version, OSArch: c.OSArch, LastContact: at(c.At), Connected: !c.At.IsZero() && !c.Away,
		Alarms: some(append(s.AlarmsOf(r), c.Alarms...)), Orders: c.Orders, Update: c.Update, Config: c.Config,
	}
	if h := c.Health; h != nil {
		v.Lag, v.Pending, v.Outcome, v.Clock, v.Store = &h.Pending.OldestSeconds, &h.Pending, &h.Outcome, h.Clock, &h.Store
	}
	if v.Labels == nil {
		v.Labels = map[string]string{}
	}
	if r.Open != "" {
		v.Expires = at(r.Expires)
	}
	switch {
	case len(r.Key) > 0:
		v.Key = syncapi.Fingerprint(r.Key)
	case r.Revoked.IsZero() && !r.damaged && s.o.Keys.Static(r.ID):
		v.State = "static"
	}
	return v
}
