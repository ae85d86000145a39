package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/syncapi"
)

const (
	maxBoots = 64 // of a depot that are remembered
	maxBoot  = 64 // bytes of a boot's name
)

// errUnproven tells nothing that a stranger could use.
var errUnproven = &Refusal{http.StatusUnauthorized, "no session: the key is not this depot's, or the nonce is not one of this centre's, too old or used"}

// Session gives a depot that proves its key a session, which ends the one before.
func (s *Service) Session(ctx context.Context, from string, req *syncapi.Prove) (out syncapi.Session, err error) {
	nonce, ok := s.openNonce(req.Depot, req.Nonce)
	if !ok {
		return out, errUnproven
	}
	if req.Boot == "" || len(req.Boot) > maxBoot {
		return out, refuse(http.StatusBadRequest, "boot must have 1 to %d characters", maxBoot)
	}
	if c := s.config(); len(c.Origins) > 0 && !slices.Contains(c.Origins, req.Origin) {
		return out, refuse(http.StatusForbidden, "the gateway calls %q, which is none of this centre's origins: central.url there, or origins here, is wrong", syncapi.Origin(req.Origin))
	}
	life := s.config().Session
	proven, clone, keyless, count := false, false, false, 0
	err = s.change(ctx, func(t Tx) (*Registration, error) {
		r, err := t.Depot(req.Depot)
		if err != nil {
			return nil, err
		}
		keyless = r != nil && r.keyless()
		if proven, err = s.prove(r, req); err != nil {
			return nil, err
		}
		if err := s.use(r, nonce); err != nil {
			return nil, err
		}
		if clone = slices.Contains(r.Boots, req.Boot); clone {
			r.Clones++
			r.Cloned, count = s.o.Now().UTC(), r.Clones
			return r, nil
		}
		if r.Boot != "" && r.Boot != req.Boot {
			r.Boots = push(r.Boots, r.Boot, maxBoots)
		}
		r.Boot, r.Session = req.Boot, rand.Text()
		out = syncapi.Session{
			Session: s.sealSession(r.ID, r.Session, s.o.Now().Add(life)), ExpiresIn: int64(life / time.Second),
		}
		return r, nil
	})
	by := Actor{Who: "depot/" + string(req.Depot), From: from}
	if err == nil && !clone {
		s.sessions.Inc()
	}
	if err != nil && keyless && s.o.Keys.MayTell(string(req.Depot)) { // a stranger is told no more than others
		s.o.Logger.Error("a gateway was refused that may have got another key after the backup that was put back: scanrelay depot reset makes a token for it",
			"depot", string(req.Depot), "address", from)
	}
	switch {
	case err != nil:
		return syncapi.Session{}, err
	case clone:
		s.tellClone(by, req.Depot, count)
		return syncapi.Session{}, refuse(http.StatusForbidden, "another machine, or a later start of the agent, runs with the identity of depot %s: "+
			"this one is refused, what it has is kept. If both run, one of them runs from a copy of the card and needs a depot of its own", req.Depot)
	case proven:
		s.renewals.Inc()
		if s.o.Keys.MayTell(string(req.Depot)) { // as often as the depot likes
			s.o.Logger.Info("depot renewed its key", "depot", string(req.Depot))
			s.note(by, "depot.renew", req.Depot, audit.OK, "the new key is proven, the one before has ended")
		}
	}
	return out, nil
}

// prove checks the signature against the depot's key, and its next one, which a
// proof makes the one that counts.
func (s *Service) prove(r *Registration, req *syncapi.Prove) (renewed bool, err error) {
	if r == nil {
		return false, errUnproven
	}
	text := syncapi.SessionMessage(req.Depot, req.Nonce, req.Boot, req.Origin)
	signedBy := func(key []byte) bool {
		return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, text, req.Signature)
	}
	switch {
	case signedBy(r.Key):
	case signedBy(r.Next):
		if r.Revoked.IsZero() {
			s.retire(r, "renewed")
			r.Key, r.Next, r.By, renewed = r.Next, nil, "", true
		}
	default:
		return false, errUnproven
	}
	if !r.Revoked.IsZero() {
		return false, errRevoked(r)
	}
	return renewed, nil
}

// use notes a nonce, so that nobody who overheard a proof can show it again.
func (s *Service) use(r *Registration, nonce Used) error {
	now := s.o.Now()
	r.Used = slices.DeleteFunc(r.Used, func(u Used) bool { return now.Sub(u.At).Abs() > 2*nonceLife })
	switch {
	case slices.ContainsFunc(r.Used, func(u Used) bool { return u.Name == nonce.Name }):
		return errUnproven
	case len(r.Used) >= maxUsed:
		return refuse(http.StatusTooManyRequests, "too many sessions of this depot: try again in a minute")
	}
	r.Used = append(r.Used, nonce)
	return nil
}

func (s *Service) tellClone(by Actor, id scan.DepotID, count int) {
	s.clones.Inc()
	if s.o.Keys.MayTell(string(id)) {
		s.o.Logger.Error("two machines run with one depot's identity", "depot", string(id), "address", by.From, "times", count,
			"hint", "one of them runs from a copy of the card: give it a depot of its own")
		s.note(by, "depot.cloned", id, audit.Refused, "a start of the agent that another had replaced came back")
	}
}

// Depot implements caller.Sessions: whose session a bearer token is.
func (s *Service) Depot(ctx context.Context, token secret.Text) (id scan.DepotID, ok bool, err error) {
	f, ok := s.unseal(sessionSeal, token.Reveal(), 3)
	if !ok || !s.o.Now().Before(parseStamp(f[2])) {
		return "", false, nil
	}
	r, err := s.Registration(ctx, scan.DepotID(f[0]))
	if err != nil || r == nil || r.Session != f[1] || !r.Revoked.IsZero() {
		return "", false, err
	}
	return r.ID, true, nil
}
