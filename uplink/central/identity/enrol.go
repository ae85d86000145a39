package identity

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"net/http"
	"path"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/syncapi"
)

// Enrol registers a depot's key. by is "" where the request has a token, else with
// which credential it came, which names the same depot.
func (s *Service) Enrol(ctx context.Context, from string, req *syncapi.Enrol, by caller.By) (out syncapi.Enrolled, err error) {
	if !req.Depot.Valid() { // no store is asked for what may be no text
		return out, refuse(http.StatusBadRequest, "depot is no depot id")
	}
	if len(req.Key) != ed25519.PublicKeySize || !ed25519.Verify(req.Key, syncapi.EnrolMessage(req.Depot, req.Key, req.Token), req.Proof) {
		return out, refuse(http.StatusBadRequest, "%v", errNoProof)
	}
	fresh := true
	err = s.change(ctx, func(t Tx) (*Registration, error) {
		r, err := t.Depot(req.Depot)
		if err != nil {
			return nil, err
		}
		before := registered(r)
		switch by {
		case "":
			r, err = s.byToken(t, r, req)
		case caller.BySession:
			r, err = s.bySession(r, req)
		default:
			r, err = s.byStatic(r, req)
		}
		if err != nil {
			return nil, err
		}
		out = syncapi.Enrolled{Depot: r.ID, Name: r.Name, Site: r.Site, Labels: r.Labels, Key: syncapi.Fingerprint(req.Key)}
		if fresh = registered(r) != before; !fresh {
			return nil, nil
		}
		return r, nil
	})
	who := Actor{Who: "depot/" + string(req.Depot), From: from}
	mayTell := func() bool { // which depot it is says anybody who has a token
		if by == "" {
			return s.o.Keys.MayTell(from)
		}
		return s.o.Keys.MayTell(string(req.Depot))
	}
	switch refusal, refused := err.(*Refusal); {
	case refused && refusal.Status == http.StatusUnauthorized: // the caller counts it, as a guess
	case refused:
		s.enrolment(audit.Refused)
		if mayTell() {
			s.o.Logger.Warn("enrolment refused", "depot", string(req.Depot), "why", refusal.Why, "address", from)
			s.note(who, "depot.enrol", req.Depot, audit.Refused, refusal.Why)
		}
	case err == nil && fresh:
		s.enrolment(audit.OK)
		detail := "key " + out.Key
		if by == caller.BySession { // as often as the depot likes, until it proves one
			if detail += ", to be proven yet"; !mayTell() {
				break
			}
		}
		s.o.Logger.Info("depot enrolled", "depot", string(req.Depot), "key", out.Key)
		s.note(who, "depot.enrol", req.Depot, audit.OK, detail)
	}
	return out, err
}

func (s *Service) enrolment(result string) {
	s.o.Metrics.GetOrCreateCounter(`scanrelay_central_enrolments_total{result="` + result + `"}`).Inc()
}

// registered tells one state of a registration's keys from another.
func registered(r *Registration) string {
	if r == nil {
		return ""
	}
	return string(r.Key) + "|" + string(r.Next) + "|" + r.By
}

// errToken is what a guess gets, too.
func errToken(id scan.DepotID) error {
	return refuse(http.StatusUnauthorized, "the token is not one for depot %q", id)
}

func (s *Service) byToken(t Tx, r *Registration, req *syncapi.Enrol) (*Registration, error) {
	hash := hashToken(req.Token)
	switch {
	case r != nil && r.By == hash && bytes.Equal(r.Key, req.Key):
		if !r.Revoked.IsZero() {
			return nil, errRevoked(r)
		}
		return r, nil // a power cut or a line that broke: the same answer
	case r != nil && r.By == hash:
		return nil, refuse(http.StatusForbidden, "this token was used already, with another key: scanrelay depot reset %s makes a new one", r.ID)
	case r != nil && r.Open == hash:
		if s.o.Now().After(r.Expires) {
			return nil, refuse(http.StatusForbidden, "this token has expired: scanrelay depot reset %s makes a new one", r.ID)
		}
		s.take(r, req.Key, hash)
		return r, nil
	}
	all, err := t.Tickets()
	if err != nil {
		return nil, err
	}
	k, ok := all[hash]
	switch fits, _ := path.Match(k.IDs, string(req.Depot)); {
	case !ok:
		return nil, errToken(req.Depot)
	case !fits:
		return nil, refuse(http.StatusForbidden, "this join token is for depots %s", k.IDs)
	case r != nil || s.o.Keys.Static(req.Depot):
		return nil, refuse(http.StatusForbidden, "depot %s is there already, a join token is for new ones: scanrelay depot reset %[1]s makes a token for it", req.Depot)
	case s.o.Now().After(k.Expires):
		return nil, refuse(http.StatusForbidden, "this join token has expired: scanrelay depot join-token makes a new one")
	case k.Left < 1:
		return nil, refuse(http.StatusForbidden, "this join token was used as often as it may be: scanrelay depot join-token makes a new one")
	}
	k.Left--
	all[hash] = k
	if err := t.PutTickets(all); err != nil {
		return nil, err
	}
	r = &Registration{ID: req.Depot, Created: s.o.Now().UTC()}
	s.take(r, req.Key, hash)
	return r, nil
}

// take makes key the one that counts. The one before ends, and what was revoked is
// let in again.
func (s *Service) take(r *Registration, key []byte, hash string) {
	if !r.Revoked.IsZero() {
		no := false
		r.ended = append(r.ended, end{Time: s.o.Now().UTC(), Depot: r.ID, Revoked: &no})
	}
	if !bytes.Equal(r.Key, key) {
		s.retire(r, "another key was enrolled")
	}
	r.Key, r.Next, r.By, r.Open = key, nil, hash, ""
	r.Enrolled, r.Revoked, r.Reason, r.Session = s.o.Now().UTC(), time.Time{}, "", ""
	r.Boot, r.Boots = "", nil
}

func errRevoked(r *Registration) error {
	return refuse(http.StatusForbidden, "depot %s is revoked: scanrelay depot reset %[1]s makes a token that lets it in again", r.ID)
}

// bySession is a renewal: the key before made the session. It counts until the new
// one is proven.
func (s *Service) bySession(r *Registration, req *syncapi.Enrol) (*Registration, error) {
	switch {
	case r == nil:
		return nil, errToken(req.Depot)
	case !r.Revoked.IsZero():
		return nil, errRevoked(r)
	case !bytes.Equal(r.Key, req.Key):
		r.Next = req.Key
	}
	return r, nil
}

// byStatic is an adoption: a depot of the configuration gets a key, once.
func (s *Service) byStatic(r *Registration, req *syncapi.Enrol) (*Registration, error) {
	switch {
	case r == nil:
		r = &Registration{ID: req.Depot, Created: s.o.Now().UTC()}
	case !r.Revoked.IsZero():
		return nil, errRevoked(r)
	case bytes.Equal(r.Key, req.Key):
		return r, nil
	case len(r.Key) > 0:
		return nil, refuse(http.StatusForbidden, "depot %s has a key already, another gateway's: scanrelay depot reset %[1]s makes a token for this one", r.ID)
	}
	s.take(r, req.Key, "")
	return r, nil
}
