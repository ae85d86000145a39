package trust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// How large metadata may be, and how many roots may follow each other in one go.
const (
	maxRoot      = 512_000
	maxTimestamp = 16_384
	maxSnapshot  = 512_000
	maxTargets   = 2_000_000
	maxRoots     = 256
)

// Verified is a repository as far as it is to be trusted.
type Verified struct {
	State   State // to keep, also where Verify returned an error
	Expires time.Time
	Until   map[string]time.Time // the same of each role that was looked at
	Version int64                // of the targets
	Targets []Target
}

// Verify goes through a repository's metadata as TUF's client workflow has it. Expiry is
// judged by the State's floor, and by now where the caller has a clock that it trusts;
// else now is zero. The floor does not follow now.
func Verify(ctx context.Context, from Repository, s State, now time.Time) (Verified, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, metadataDeadline, errDeadline)
	defer cancel()
	u := &update{ctx: ctx, from: from, now: now, v: Verified{State: s, Until: map[string]time.Time{}}}
	if s.Floor.After(now) {
		u.now = s.Floor
	}
	err := u.run()
	if err != nil {
		u.v.Targets = nil
		err = fmt.Errorf("verify repository: %w", err)
	}
	return u.v, err
}

type update struct {
	ctx  context.Context
	from Repository
	now  time.Time
	v    Verified
	root *root
}

func (u *update) run() error {
	if err := u.roots(); err != nil {
		return err
	}
	u.v.Expires = u.root.until()
	if err := u.unexpired(u.root); err != nil {
		return err
	}
	timestamp, err := u.timestamp()
	if err != nil {
		return err
	}
	snapshot, err := u.snapshot(timestamp.next())
	if err != nil {
		return err
	}
	return u.targets(snapshot.next())
}

// roots follows the chain of roots: each is signed by the one before and by itself.
func (u *update) roots() (err error) {
	if u.root, err = trusted(u.v.State.Root); err != nil {
		return fmt.Errorf("read the root that was trusted: %w", err)
	}
	for range maxRoots {
		next := u.root.Version + 1
		data, err := get(u.ctx, u.from, fmt.Sprintf("%d.root.json", next), maxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		r := &root{}
		e, err := read(Root, data, r)
		if err != nil {
			return err
		}
		if err := u.root.verify(Root, e); err != nil {
			return fmt.Errorf("root %d by the keys of root %d: %w", next, u.root.Version, err)
		}
		if r.Version != next {
			return refuse("root: it is version %d, and should be %d", r.Version, next)
		}
		if err := r.verify(Root, e); err != nil {
			return fmt.Errorf("root %d by its own keys: %w", next, err)
		}
		u.root, u.v.State.Root = r, data
	}
	return refuse("root: more than %d follow each other", maxRoots)
}

func (u *update) unexpired(r role) error {
	h := r.head()
	u.v.Until[h.Type] = h.until()
	if h.until().Before(u.v.Expires) {
		u.v.Expires = h.until()
	}
	if u.now.After(h.until()) {
		return fmt.Errorf("%s version %d: %w on %s; it is %s at least", h.Type, h.Version, ErrExpired, h.Expires, u.now.UTC().Format(expiresLayout))
	}
	return nil
}

// kept reads metadata that was verified before, if the keys of today still say so.
func (u *update) kept(name string, data []byte) *index {
	i := &index{}
	if e, err := read(name, data, i); err != nil || u.root.verify(name, e) != nil {
		return nil
	}
	return i
}

func (u *update) timestamp() (*index, error) {
	data, err := get(u.ctx, u.from, Timestamp+".json", maxTimestamp)
	if err != nil {
		return nil, err
	}
	t := &index{}
	e, err := read(Timestamp, data, t)
	if err != nil {
		return nil, err
	}
	if err := u.root.verify(Timestamp, e); err != nil {
		return nil, err
	}
	if before := u.kept(Timestamp, u.v.State.Timestamp); before != nil {
		switch {
		case t.Version < before.Version:
			return nil, refuse("timestamp: rolled back to version %d, %d was seen", t.Version, before.Version)
		case t.Version == before.Version:
			// What was seen first counts: two of one version are one too many.
			return before, u.unexpired(before)
		case t.next().Version < before.next().Version:
			return nil, refuse("timestamp: rolls the snapshot back to version %d, %d was seen", t.next().Version, before.next().Version)
		}
	}
	u.v.State.Timestamp = data
	return t, u.unexpired(t)
}

func (u *update) snapshot(want file) (*index, error) {
	s := &index{}
	data, err := u.named(Snapshot, want, maxSnapshot, s)
	if err != nil {
		return nil, err
	}
	if before := u.kept(Snapshot, u.v.State.Snapshot); before != nil && s.next().Version < before.next().Version {
		return nil, refuse("snapshot: rolls the targets back to version %d, %d was seen", s.next().Version, before.next().Version)
	}
	u.v.State.Snapshot = data
	return s, u.unexpired(s)
}

func (u *update) targets(want file) error {
	t := &targets{}
	if _, err := u.named(Targets, want, maxTargets, t); err != nil {
		return err
	}
	if err := u.unexpired(t); err != nil {
		return err
	}
	list, err := t.list()
	u.v.Targets, u.v.Version = list, t.Version
	return err
}

// named brings the file that metadata named and holds it against what was said of it.
func (u *update) named(name string, want file, most int64, into role) ([]byte, error) {
	if want.Length > most {
		return nil, refuse("%s: is %d bytes long, %d are the most", name, want.Length, most)
	}
	data, err := get(u.ctx, u.from, fmt.Sprintf("%d.%s.json", want.Version, name), want.Length)
	if err != nil {
		return nil, err
	}
	if sumOf(data) != want.Hashes["sha256"] || int64(len(data)) != want.Length {
		return nil, refuse("%s version %d: mixed: it is not the file that was signed for", name, want.Version)
	}
	e, err := read(name, data, into)
	if err != nil {
		return nil, err
	}
	if err := u.root.verify(name, e); err != nil {
		return nil, err
	}
	if v := into.head().Version; v != want.Version {
		return nil, refuse("%s: mixed: it is version %d, and should be %d", name, v, want.Version)
	}
	return data, nil
}
