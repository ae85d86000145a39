package updates

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/agent/update/release"
	"scanrelay/agent/update/trust"
	"scanrelay/configs/limit"
	"scanrelay/configs/wait"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/documents"
)

// Options is what a Service is made of.
type Options struct {
	Dir     string // the repository
	KeyFile string // of the timestamp's key, without a passphrase; "": the publisher signs it
	Table   documents.Table
	Depot   func(r *http.Request) (id scan.DepotID, by caller.By, status int, why string)
	Now     func() time.Time
	Logger  *slog.Logger
}

// Service serves one repository.
type Service struct {
	o      Options
	key    *release.Key // nil: the publisher signs the timestamp
	failed wait.Rarely

	places *limit.Places // of downloads

	looking chan struct{} // capacity 1: held by who uses what follows
	seen    signed        // as it was at
	at      time.Time
	wrong   string // the timestamp of the folder that did not verify
	refused time.Time
	why     error
	expires Expiry
	checked time.Time // when that was looked up
}

const (
	timestampName = "timestamp.json"
	document      = "updates/timestamp"
	maxTimestamp  = 16 << 10

	// A timestamp that is signed here holds for a week, and is signed again each day: so
	// long can somebody on the way show an old repository as the newest.
	holds   = 7 * 24 * time.Hour
	renewed = 24 * time.Hour
	// fresh is how long what was looked up serves, and again how soon a folder that does
	// not verify, as while it is copied, is looked at again.
	fresh = 5 * time.Second
	again = 30 * time.Second
)

// signed is what the processes of a centre agree on.
type signed struct {
	Base    string      `json:"base"`    // SHA-256 of the publisher's timestamp
	Text    []byte      `json:"text"`    // what is served in its place
	Version int64       `json:"version"` // of that
	At      time.Time   `json:"at"`      // when it was signed
	Trust   trust.State `json:"trust"`   // what was verified for it
}

// New reads the key.
func New(o Options) (*Service, error) {
	s := &Service{o: o, failed: wait.Rarely{Every: time.Minute}, places: limit.NewPlaces(maxDownloads, depotDownload), looking: make(chan struct{}, 1)}
	if o.KeyFile == "" {
		return s, nil
	}
	var err error
	if s.key, err = release.LoadKey(o.KeyFile, ""); err == nil && !s.key.Private() {
		err = fmt.Errorf("%s is under a passphrase, or the public half alone: a centre signs with a key of its own, made by scanrelay release key --online", o.KeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("updates.timestamp_key_file: %w", err)
	}
	return s, nil
}

// hold takes what looking guards.
func (s *Service) hold(ctx context.Context) (leave func(), err error) {
	select {
	case s.looking <- struct{}{}:
		return func() { <-s.looking }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// timestamp is the one to serve: signed here, of what the folder has.
func (s *Service) timestamp(ctx context.Context) ([]byte, error) {
	leave, err := s.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if now := s.o.Now(); now.Sub(s.at).Abs() < fresh {
		return s.seen.Text, nil
	}
	base, unread := s.base(ctx) // as while the folder is being replaced
	sum := sha256.Sum256(base)
	name := hex.EncodeToString(sum[:])
	var failed error
	now, err := documents.Change(ctx, s.o.Table, document, func(d *signed) (bool, error) {
		age := s.o.Now().Sub(d.At)
		if unread == nil && d.Base == name && 0 <= age && age < renewed {
			return false, nil
		}
		if failed = unread; failed == nil {
			failed = s.sign(ctx, name, d)
		}
		if failed != nil {
			if age >= holds || d.Text == nil {
				return false, failed
			}
			return false, nil // what was signed before stays right: a folder may be on its way
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	if failed != nil {
		if more, due := s.failed.Due(s.o.Now()); due {
			s.o.Logger.Error("the repository of releases does not verify: what was there before is served on", "error", failed, "failed_since_last_line", more)
		}
	}
	s.seen, s.at = now, s.o.Now()
	return now.Text, nil
}

// base is the publisher's timestamp.
func (s *Service) base(ctx context.Context) ([]byte, error) {
	f, err := trust.Dir(s.o.Dir).Open(ctx, timestampName, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxTimestamp))
}

// sign verifies the folder and signs its timestamp anew, above all that was given before.
// A folder that did not verify a moment ago is not read again yet.
func (s *Service) sign(ctx context.Context, name string, d *signed) error {
	if s.wrong == name && s.o.Now().Sub(s.refused).Abs() < again {
		return s.why
	}
	err := s.signNow(ctx, name, d)
	if err != nil {
		s.wrong, s.refused, s.why = name, s.o.Now(), err
	}
	return err
}

func (s *Service) signNow(ctx context.Context, name string, d *signed) error {
	v, err := s.verify(ctx, d.Trust)
	if err != nil {
		return err
	}
	now := s.o.Now().UTC()
	text, version, err := release.Resign(v.State.Timestamp, s.key, d.Version, now, holds)
	if err != nil {
		return err
	}
	// As a gateway will look at it: the root may not name this key.
	own := trust.State{Root: v.State.Root}
	if _, err := trust.Verify(ctx, over{trust.Dir(s.o.Dir), text}, own, time.Time{}); err != nil {
		return fmt.Errorf("what the key of updates.timestamp_key_file signs is not taken; does the root name it for the timestamp? %w", err)
	}
	*d = signed{Base: name, Text: text, Version: version, At: now, Trust: v.State}
	return nil
}

// verify looks at the folder as a gateway does that has seen so much. Whether something
// has expired gateways judge, by their own time.
func (s *Service) verify(ctx context.Context, seen trust.State) (trust.Verified, error) {
	if seen.Root == nil {
		f, err := trust.Dir(s.o.Dir).Open(ctx, "1.root.json", 0)
		if err != nil {
			return trust.Verified{}, err
		}
		defer f.Close()
		first, err := io.ReadAll(io.LimitReader(f, 1<<20))
		if err == nil {
			seen, err = trust.NewState(first, time.Time{})
		}
		if err != nil {
			return trust.Verified{}, err
		}
	}
	return trust.Verify(ctx, trust.Dir(s.o.Dir), seen, time.Time{})
}

// Releases are what the repository has, verified as it is now.
func (s *Service) Releases(ctx context.Context) ([]trust.Target, error) {
	leave, err := s.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var d signed
	if _, err := documents.Get(ctx, s.o.Table, document, &d); err != nil {
		return nil, err
	}
	v, err := s.verify(ctx, d.Trust)
	return v.Targets, err
}

// soon is how long before their metadata expires people are told: those who sign may be
// three at three places.
const soon = 30 * 24 * time.Hour

// Expiry is what expires soon, or has; the zero Expiry: nothing.
type Expiry struct {
	Role string
	At   time.Time
}

// Expiring is which of root, targets and snapshot expires first, if that is soon, as it was
// within the last minute. The timestamp is signed again each day, or by who publishes. Of a
// folder that does not verify the log tells.
func (s *Service) Expiring(ctx context.Context) Expiry {
	leave, err := s.hold(ctx)
	if err != nil {
		return Expiry{}
	}
	defer leave()
	now := s.o.Now()
	if !s.checked.IsZero() && now.Sub(s.checked).Abs() < time.Minute {
		return s.expires
	}
	var d signed
	if _, err = documents.Get(ctx, s.o.Table, document, &d); err != nil {
		return s.expires
	}
	v, err := s.verify(ctx, d.Trust)
	if err != nil {
		return s.expires
	}
	s.expires, s.checked = Expiry{}, now
	for _, role := range []string{trust.Root, trust.Targets, trust.Snapshot} {
		if at := v.Until[role]; at.Sub(now) < soon && (s.expires.Role == "" || at.Before(s.expires.At)) {
			s.expires = Expiry{role, at}
		}
	}
	return s.expires
}

// over is a repository with another timestamp.
type over struct {
	trust.Dir
	timestamp []byte
}

func (o over) Open(ctx context.Context, name string, from int64) (io.ReadCloser, error) {
	if name != timestampName {
		return o.Dir.Open(ctx, name, from)
	}
	return io.NopCloser(bytes.NewReader(o.timestamp[min(from, int64(len(o.timestamp))):])), nil
}
