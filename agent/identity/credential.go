package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/uplink/syncapi"
)

// Options is what a Credential is made of.
type Options struct {
	Keys   *Keys
	Centre *syncapi.Client
	Boot   string
	// Static is the token of the configuration; Certificate says that there is a
	// client certificate. They are what a depot without a key shows.
	Static      secret.Text
	Certificate bool
	EnrolToken  secret.Text // used where no key was enrolled with it
	Adopt       bool        // enrol a key on the strength of Static or the certificate
	Logger      *slog.Logger
}

// Credential is what a depot shows with each sync: a session if it has a key.
type Credential struct {
	o Options

	mu      sync.Mutex // held while the centre is asked: one session at a time
	session secret.Text
	renew   time.Time   // from when on there is to be another
	later   time.Time   // until when what did not work is not tried again, where there is something else
	told    string      // last line about what did not work
	spent   secret.Text // a token that the centre does not take, of a depot that has a key
}

// New makes one.
func New(o Options) *Credential { return &Credential{o: o} }

// Token implements syncapi.Credential.
func (c *Credential) Token(ctx context.Context) (secret.Text, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != "" && time.Now().Before(c.renew) { // by the monotonic clock
		return c.session, nil
	}
	fallback := c.o.Static != "" || c.o.Certificate
	if fallback && time.Now().Before(c.later) {
		return c.o.Static, nil
	}
	release, err := c.o.Keys.lock(ctx)
	switch {
	case err != nil && c.session != "":
		return c.session, nil // it has a quarter of its life
	case err != nil:
		return "", err
	}
	defer release()
	if err := c.enrolled(ctx, fallback); err != nil {
		return "", err
	}
	key, err := c.proven(ctx)
	switch {
	case key != nil:
		return c.session, nil
	case err != nil && c.session != "" && !refused(err):
		return c.session, nil // the centre could not be asked, and what there is has a quarter of its life
	case err != nil:
		return "", err
	case fallback:
		c.later = time.Now().Add(again)
		return c.o.Static, nil
	}
	return "", errors.New("the depot has no credential: scanrelay enrol --token TOKEN enrols it")
}

// again is how often a depot that has another credential tries to come by a key.
const again = time.Minute

// Refused implements syncapi.Credential: the session has ended, the key may have been
// changed by a command.
func (c *Credential) Refused(token secret.Text) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == "" {
		return false
	}
	if c.session == token {
		c.session = ""
	}
	return true
}

// refused reports whether the centre has answered, and said no.
func refused(err error) bool {
	var e *syncapi.Error
	return errors.As(err, &e) && e.Unauthorized()
}

// enrolled enrols a key where the configuration wants that.
func (c *Credential) enrolled(ctx context.Context, fallback bool) error {
	key, err := c.o.Keys.Current()
	if err != nil {
		return err
	}
	switch token := c.o.EnrolToken; {
	case token != "" && (key == nil || !key.knows(token) && c.spent != token):
		if err = c.enrol(ctx, token, ""); err != nil && refused(err) {
			c.spent = token
		}
	case key == nil && c.o.Adopt:
		err = c.enrol(ctx, "", c.o.Static)
	}
	if err == nil || key == nil && !fallback {
		return err
	}
	c.tell("the depot's key could not be enrolled; it goes on with what it has", err)
	return nil
}

// tell says what does not work, once.
func (c *Credential) tell(what string, err error) {
	if text := err.Error(); text != c.told {
		c.told = text
		c.o.Logger.Warn(what, "reason", text)
	}
}

// Enrol enrols a key with a one-time token and proves it. It may be called again
// after whatever happened.
func (c *Credential) Enrol(ctx context.Context, token secret.Text) error {
	release, err := c.o.Keys.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	return c.enrol(ctx, token, "")
}

// Renew changes the key for another: the one before makes the session on whose
// strength that is enrolled, and counts until it is proven.
func (c *Credential) Renew(ctx context.Context) error {
	release, err := c.o.Keys.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	key, err := c.o.Keys.Current()
	if err != nil {
		return err
	}
	if key == nil {
		return errors.New("the depot has no key to renew: scanrelay enrol --token TOKEN enrols one")
	}
	next, err := c.o.Keys.Next()
	if err != nil {
		return err
	}
	if next != nil && c.prove(ctx, next) == nil { // the centre knows it: only the last step was missing
		return c.o.Keys.Promote()
	}
	if err := c.prove(ctx, key); err != nil {
		return err
	}
	return c.enrol(ctx, "", c.session)
}

// enrol enrols a key and proves it. The caller has the keys' lock.
func (c *Credential) enrol(ctx context.Context, token, credential secret.Text) error {
	if err := c.safe(); err != nil {
		return err
	}
	key, err := c.o.Keys.Current()
	had := err == nil && key != nil && token != "" && key.Token == tokenHash(token)
	if err == nil && !had {
		key, err = c.o.Keys.Begin(token)
	}
	if err != nil {
		return err
	}
	out, err := c.o.Centre.Enrol(ctx, syncapi.NewEnrol(key.Depot, key.Private(), token), credential)
	if err != nil {
		return err
	}
	if err := c.prove(ctx, key); err != nil {
		return err
	}
	if had {
		return nil
	}
	c.o.Logger.Info("enrolled at the centre", "depot", string(key.Depot), "name", out.Name, "site", out.Site, "key", out.Key)
	return c.o.Keys.Promote()
}

// safe demands https outside of this machine.
func (c *Credential) safe() error {
	u, err := url.Parse(c.o.Centre.Origin())
	if err != nil || secret.MayGoTo(u) {
		return err
	}
	return fmt.Errorf("central.url is %s: a depot proves its identity by https only, but on this machine", u)
}

// proven makes a session with the key that counts, or with the next where a power
// cut came before that was taken up. nil without an error: there is no key.
func (c *Credential) proven(ctx context.Context) (*Key, error) {
	key, err := c.o.Keys.Current()
	if err != nil {
		return nil, err
	}
	if key != nil {
		if err = c.prove(ctx, key); err == nil {
			return key, nil
		}
		if !refused(err) {
			return nil, err
		}
	}
	next, nextErr := c.o.Keys.Next()
	if nextErr != nil || next == nil {
		return nil, errors.Join(err, nextErr)
	}
	if c.prove(ctx, next) != nil {
		return nil, err
	}
	return next, c.o.Keys.Promote()
}

// prove makes a session with a key.
func (c *Credential) prove(ctx context.Context, key *Key) error {
	if err := c.safe(); err != nil {
		return err
	}
	nonce, err := c.o.Centre.Nonce(ctx, key.Depot)
	if err != nil {
		return err
	}
	s, err := c.o.Centre.Session(ctx, syncapi.NewProve(key.Depot, key.Private(), nonce.Nonce, c.o.Boot, c.o.Centre.Origin()))
	if err != nil {
		return err
	}
	if s.Session == "" {
		return &syncapi.Error{Status: http.StatusOK, Err: errors.New("the answer has no session: is central.url right?")}
	}
	// A quarter of its life is left for a centre that cannot be asked.
	c.session, c.renew = secret.Text(s.Session), time.Now().Add(time.Duration(min(s.ExpiresIn, maxLife))*time.Second*3/4)
	return nil
}

// maxLife bounds what is believed of a session's life, in seconds.
const maxLife = 365 * 24 * 3600
