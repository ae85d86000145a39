package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/syncapi"
)

// Options is what a Service is made of.
type Options struct {
	Store   Store
	Ended   *Ended     // nil: nothing is remembered beside the store
	Audit   *audit.Log // nil: nothing is kept
	Keys    *caller.Keyring
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *metrics.Set
}

// Config is what can change while the centre runs.
type Config struct {
	Origins    []string // none: not checked
	EnrolValid time.Duration
	Session    time.Duration
}

// Service enrols depots and gives them sessions.
type Service struct {
	o      Options
	config func() Config
	secret []byte
	wrong  *caller.Guesses
	lists  chan struct{} // places of answers that are long

	sessions, clones, renewals *metrics.Counter
	failed, unwatched          wait.Rarely // lines about calls that the store did not take, and what Watch could not look at
}

// New makes a Service; what has ended is ended in the store first.
func New(ctx context.Context, o Options, config func() Config) (*Service, error) {
	s := &Service{
		o: o, config: config, wrong: o.Keys.Guesses("enrolment"), lists: make(chan struct{}, maxLists),
		sessions: o.Metrics.GetOrCreateCounter("scanrelay_central_sessions_total"),
		clones:   o.Metrics.GetOrCreateCounter("scanrelay_central_cloned_identities_total"),
		renewals: o.Metrics.GetOrCreateCounter("scanrelay_central_key_renewals_total"),
		failed:   wait.Rarely{Every: time.Minute}, unwatched: wait.Rarely{Every: time.Minute},
	}
	var err error
	if s.secret, err = o.Store.Secret(ctx); err != nil {
		return nil, fmt.Errorf("read the key of sessions: %w", err)
	}
	if err := s.begin(ctx); err != nil {
		return nil, fmt.Errorf("end what was revoked: %w", err)
	}
	return s, s.tellKeyless(ctx)
}

// Refusal is an error that the caller is told.
type Refusal struct {
	Status int
	Why    string
}

func (r *Refusal) Error() string { return r.Why }

func refuse(status int, format string, args ...any) error {
	return &Refusal{status, fmt.Sprintf(format, args...)}
}

// Actor is who does something, and from where.
type Actor struct{ Who, From string }

// note adds to the audit log. What was done is done: that it could not be noted is
// an error of the log alone.
func (s *Service) note(by Actor, action string, id scan.DepotID, result, detail string) {
	err := s.o.Audit.Add(audit.Entry{Who: by.Who, From: by.From, Action: action, Depot: string(id), Result: result, Detail: detail})
	if err != nil {
		s.o.Logger.Error("write the audit log", "action", action, "error", err)
	}
}

// Depot is what an operator says of a depot.
type Depot struct {
	ID     scan.DepotID      `json:"id"`
	Name   string            `json:"name"`
	Site   string            `json:"site"`
	Labels map[string]string `json:"labels"`
}

const (
	maxText   = 100 // characters of a name, site, label or reason
	maxLabels = 16
)

func (d *Depot) check() error {
	switch {
	case !d.ID.Valid():
		return refuse(http.StatusBadRequest, "id is no depot id: it begins with a small letter or digit, then letters, digits and -, 63 at most")
	case !sound(d.Name), !sound(d.Site):
		return refuse(http.StatusBadRequest, "name and site have at most %d printable characters", maxText)
	case len(d.Labels) > maxLabels:
		return refuse(http.StatusBadRequest, "a depot has at most %d labels", maxLabels)
	}
	for k, v := range d.Labels {
		if k == "" || !sound(k) || !sound(v) {
			return refuse(http.StatusBadRequest, "a label is key=value, each of at most %d printable characters", maxText)
		}
	}
	return nil
}

func sound(text string) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= maxText && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Invite is a token that was made: it is shown once.
type Invite struct {
	Token   string    `json:"enrol_token"`
	Expires time.Time `json:"expires"`
}

func (s *Service) invite(r *Registration) (i Invite) {
	i.Token, r.Open = newToken()
	i.Expires = s.o.Now().Add(s.config().EnrolValid).UTC().Truncate(time.Second)
	r.Expires = i.Expires
	return i
}

// Add registers a depot that is not registered yet.
func (s *Service) Add(ctx context.Context, by Actor, d Depot) (i Invite, err error) {
	if err := d.check(); err != nil {
		return i, err
	}
	err = s.change(ctx, func(t Tx) (*Registration, error) {
		switch r, err := t.Depot(d.ID); {
		case err != nil:
			return nil, err
		case r != nil:
			return nil, refuse(http.StatusConflict, "%s is registered already (%s); a new token for it: scanrelay depot reset %[1]s", d.ID, r.State())
		}
		r := &Registration{ID: d.ID, Name: d.Name, Site: d.Site, Labels: d.Labels, Created: s.o.Now().UTC()}
		i = s.invite(r)
		return r, nil
	})
	if err == nil {
		s.note(by, "depot.add", d.ID, audit.OK, d.Name)
	}
	return i, err
}

// Reset makes a new token for a depot whose gateway was replaced. Its key ends when
// the token is used.
func (s *Service) Reset(ctx context.Context, by Actor, id scan.DepotID) (i Invite, err error) {
	err = s.change(ctx, func(t Tx) (*Registration, error) {
		r, err := s.find(t, id)
		if err == nil {
			if r.damaged { // perhaps it was revoked: until the token is used nothing lets it in
				r = &Registration{ID: id, Created: s.o.Now().UTC()}
				r.revoke(r.Created, "its registration was unreadable")
			}
			i = s.invite(r)
			r.Clones, r.Cloned = 0, time.Time{}
		}
		return r, err
	})
	if err == nil {
		s.note(by, "depot.reset", id, audit.OK, "")
	}
	return i, err
}

// find returns a registration; a depot of the configuration gets one.
func (s *Service) find(t Tx, id scan.DepotID) (*Registration, error) {
	if !id.Valid() {
		return nil, refuse(http.StatusNotFound, "no depot is registered whose id could not be one")
	}
	r, err := t.Depot(id)
	if err == nil && r == nil && s.o.Keys.Static(id) {
		r = &Registration{ID: id, Created: s.o.Now().UTC()}
	}
	if err == nil && r == nil {
		err = refuse(http.StatusNotFound, "no depot %q is registered", id)
	}
	return r, err
}

func (r *Registration) revoke(at time.Time, reason string) {
	r.Revoked, r.Reason, r.Session, r.Open = at, reason, "", ""
}

// Revoke shuts a depot out: its key, its session, its static token and certificate.
func (s *Service) Revoke(ctx context.Context, by Actor, id scan.DepotID, reason string) error {
	if reason = strings.TrimSpace(reason); reason == "" || !sound(reason) {
		return refuse(http.StatusBadRequest, "a revocation needs a reason of at most %d printable characters", maxText)
	}
	err := s.change(ctx, func(t Tx) (*Registration, error) {
		r, err := s.find(t, id)
		if err == nil && !r.Revoked.IsZero() {
			err = refuse(http.StatusConflict, "%s is revoked already", id)
		}
		if err == nil {
			r.revoke(s.o.Now().UTC(), reason)
			r.damaged = false
			r.ended = append(r.ended, ofRevoked(r))
		}
		return r, err
	})
	if err == nil {
		s.note(by, "depot.revoke", id, audit.OK, reason)
		s.o.Logger.Warn("depot revoked", "depot", string(id))
	}
	return err
}

// Bounds of join tokens.
const (
	maxJoin    = 100_000            // uses of one
	maxTickets = 1000               // that are good at once
	keepTicket = 7 * 24 * time.Hour // after its end: who shows it is told why it is refused
)

// Join makes a token for a series of depots.
func (s *Service) Join(ctx context.Context, by Actor, uses int, ids string) (i Invite, err error) {
	if uses < 1 || uses > maxJoin {
		return i, refuse(http.StatusBadRequest, "uses must lie between 1 and %d", maxJoin)
	}
	if _, err := path.Match(ids, ""); err != nil || ids == "" || !sound(ids) {
		return i, refuse(http.StatusBadRequest, "ids must be a pattern of depot ids, as hz-*")
	}
	var hash string
	i.Token, hash = newToken()
	now := s.o.Now()
	i.Expires = now.Add(s.config().EnrolValid).UTC().Truncate(time.Second)
	err = s.o.Store.Update(ctx, func(t Tx) error {
		all, err := t.Tickets()
		if err != nil {
			return err
		}
		next, good := map[string]Ticket{hash: {Expires: i.Expires, IDs: ids, Left: uses}}, 0
		for hash, k := range all {
			serves := k.Left > 0 && now.Before(k.Expires)
			if serves {
				good++
			}
			if serves || len(next) < maxTickets && now.Before(k.Expires.Add(keepTicket)) {
				next[hash] = k
			}
		}
		if good >= maxTickets {
			return refuse(http.StatusConflict, "%d join tokens are good: wait until one has ended", good)
		}
		return t.PutTickets(next)
	})
	if err == nil {
		s.note(by, "depot.join-token", "", audit.OK, fmt.Sprintf("%d uses for %s", uses, ids))
	}
	return i, err
}

// Registrations lists all.
func (s *Service) Registrations(ctx context.Context) (list []*Registration, err error) {
	err = s.o.Store.View(ctx, func(t Tx) error {
		return t.Depots(func(r *Registration) error { list = append(list, r); return nil })
	})
	return list, err
}

// Registration returns one; nil if there is none.
func (s *Service) Registration(ctx context.Context, id scan.DepotID) (r *Registration, err error) {
	if !id.Valid() {
		return nil, nil
	}
	err = s.o.Store.View(ctx, func(t Tx) error { r, err = t.Depot(id); return err })
	return r, err
}

// Barred implements caller.Sessions: a depot that was revoked is let in by no
// credential, nor is one of which nobody knows whether it was.
func (s *Service) Barred(ctx context.Context, id scan.DepotID) (bool, error) {
	r, err := s.Registration(ctx, id)
	return r != nil && (r.damaged || !r.Revoked.IsZero()), err
}

// maxPast is how many keys of a depot that count no more are remembered.
const maxPast = 20

// past moves a key that counts no more to the past ones.
func (r *Registration) past(key []byte, until time.Time, why string) {
	r.Past = append(r.Past[max(0, len(r.Past)-maxPast+1):], PastKey{syncapi.Fingerprint(key), until, why})
}

// retire ends the key that counts.
func (s *Service) retire(r *Registration, why string) {
	if len(r.Key) > 0 {
		now := s.o.Now().UTC()
		r.past(r.Key, now, why)
		r.ended = append(r.ended, end{Time: now, Depot: r.ID, Key: syncapi.Fingerprint(r.Key)})
	}
}

// cloned is how long an alarm of a cloned identity stands after it was seen last.
const cloned = 24 * time.Hour

// Alarm is something that is wrong now.
type Alarm struct {
	Depot scan.DepotID `json:"depot"`
	Kind  string       `json:"kind"`
	Since time.Time    `json:"since,omitzero"`
	What  string       `json:"what"`
	Do    string       `json:"do"`
}

// AlarmsOf are those of a depot.
func (s *Service) AlarmsOf(r *Registration) (list []Alarm) {
	if r.damaged {
		list = append(list, Alarm{
			Depot: r.ID, Kind: "registration_damaged",
			What: "its registration cannot be read: it is let in by nothing",
			Do:   "put its document back from a backup, or scanrelay depot reset " + string(r.ID) + ", then scanrelay enrol with that token on the gateway",
		})
	}
	if r.keyless() {
		list = append(list, Alarm{
			Depot: r.ID, Kind: "key_unknown", Since: r.Past[len(r.Past)-1].Until,
			What: "its gateway got another key after the backup that was put back, which is not known here: it is refused",
			Do:   "scanrelay depot reset " + string(r.ID) + ", then scanrelay enrol with that token on the gateway",
		})
	}
	if r.Clones > 0 && s.o.Now().Sub(r.Cloned) <= cloned {
		list = append(list, Alarm{
			Depot: r.ID, Kind: "identity_cloned", Since: r.Cloned,
			What: fmt.Sprintf("two machines run with this depot's identity: a start of the agent that another one had replaced came back, %d times; it is refused", r.Clones),
			Do:   "find the gateway that runs from a copy of the card, add a depot of its own for it and empty its data_dir; then scanrelay depot reset " + string(r.ID),
		})
	}
	return list
}

var errNoProof = errors.New("proof is not EnrolMessage signed by key")

// push puts text at the end of a list of at most most.
func push(list []string, text string, most int) []string {
	return append(slices.Clone(list[max(0, len(list)-most+1):]), text)
}
