package release

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"scanrelay/agent/update/trust"
)

// Lack is metadata that is not published yet, for want of signatures.
type Lack struct {
	Role    string   `json:"role"`
	Version int64    `json:"version"`
	Need    int      `json:"need"` // signatures more
	From    []string `json:"from"` // keys that may give them
}

// Step is what a call of Sign did.
type Step struct {
	Role      string
	Version   int64
	Published bool // else: signed
}

// Missing is what is staged and who still has to sign it.
func (r Repository) Missing() ([]Lack, error) {
	current, next, err := r.roots()
	if err != nil {
		return nil, err
	}
	var list []Lack
	for _, role := range order {
		e, err := r.waiting(role)
		if err != nil {
			return nil, err
		}
		if e == nil {
			continue
		}
		need, from := r.lack(e, role, current, next)
		list = append(list, Lack{Role: role, Version: e.head().Version, Need: need, From: from})
	}
	return list, nil
}

// lack is what a staged role lacks. A root needs the keys of the one before, and its own.
func (r Repository) lack(e *envelope, role string, current, next *metadata.RootType) (need int, from []string) {
	if role != trust.Root {
		return e.lack(cmp.Or(current, next), role)
	}
	need, from = e.lack(next, role)
	if current != nil {
		n, f := e.lack(current, role)
		need = max(need, n)
		from = append(from, f...)
	}
	slices.Sort(from)
	return need, slices.Compact(from)
}

// Sign signs everything that waits for this key, and publishes what has signatures
// enough, until there is nothing to do for it.
func (r Repository) Sign(k *Key) (steps []Step, err error) {
	for {
		if err := r.advance(); err != nil {
			return steps, err
		}
		did, err := r.signOnce(k)
		if err != nil {
			return steps, err
		}
		published, err := r.publish()
		if err != nil {
			return steps, err
		}
		did = append(did, published...)
		if len(did) == 0 {
			return steps, nil
		}
		steps = append(steps, did...)
	}
}

func (r Repository) signOnce(k *Key) (did []Step, err error) {
	current, next, err := r.roots()
	if err != nil {
		return nil, err
	}
	for _, role := range order {
		e, err := r.waiting(role)
		if err != nil {
			return nil, err
		}
		if e == nil {
			continue
		}
		if _, from := r.lack(e, role, current, next); !slices.Contains(from, k.ID) {
			continue
		}
		if added, err := e.add(k); err != nil || !added {
			return nil, err
		}
		if err := r.write(r.staged(role), e.bytes()); err != nil {
			return nil, err
		}
		did = append(did, Step{Role: role, Version: e.head().Version})
	}
	return did, nil
}

// publish moves what is signed to where gateways look.
func (r Repository) publish() (did []Step, err error) {
	for _, role := range order {
		current, next, err := r.roots()
		if err != nil {
			return did, err
		}
		e, err := r.waiting(role)
		if err != nil {
			return did, err
		}
		if e == nil || role != trust.Root && current == nil {
			continue
		}
		if need, _ := r.lack(e, role, current, next); need > 0 {
			return did, nil // what follows needs it
		}
		version := e.head().Version
		if err := r.write(r.path(fileOf(role, version)), e.bytes()); err != nil {
			return did, err
		}
		if role == trust.Root { // what is given to gateways
			if err := r.write(r.path("root.json"), e.bytes()); err != nil {
				return did, err
			}
		}
		if err := os.Remove(r.staged(role)); err != nil {
			return did, fmt.Errorf("publish %s: %w", role, err)
		}
		did = append(did, Step{Role: role, Version: version, Published: true})
		if err := r.advance(); err != nil {
			return did, err
		}
	}
	return did, nil
}

// advance stages what follows from what was published: a snapshot that does not name
// the newest targets is out of date, and so is metadata that the keys of today did not
// sign.
func (r Repository) advance() error {
	current, next, err := r.roots()
	if err != nil || current == nil || next != nil {
		return err
	}
	for _, role := range order[1:] {
		switch waiting, err := r.waiting(role); {
		case err != nil:
			return err
		case waiting != nil:
			return nil
		}
		if did, err := r.follow(role, current); did || err != nil {
			return err
		}
	}
	return nil
}

// follow stages a role anew if it is out of date.
func (r Repository) follow(role string, root *metadata.RootType) (staged bool, err error) {
	last, data, err := r.last(role)
	if err != nil {
		return false, err
	}
	var version int64
	stale := last == nil
	if last != nil {
		version = last.head().Version
		need, _ := last.lack(root, role)
		stale = need > 0
	}
	switch role {
	case trust.Targets:
		if stale && last != nil {
			return true, r.stageTargets(nil)
		}
		return false, nil // who adds a release makes the first
	case trust.Snapshot:
		names, content, err := r.last(trust.Targets)
		if names == nil || err != nil {
			return false, err
		}
		s := metadata.Snapshot(r.expiry(role))
		s.Signed.Version = version + 1
		s.Signed.Meta = map[string]*metadata.MetaFiles{"targets.json": about(names.head().Version, content)}
		if !stale && refers(data, content) {
			return false, nil
		}
		return true, r.stage(role, s.Signed)
	}
	names, content, err := r.last(trust.Snapshot)
	if names == nil || err != nil {
		return false, err
	}
	if !stale && refers(data, content) {
		return false, nil
	}
	return true, r.stage(role, timestamp(r, after(version, r.now()), names.head().Version, content))
}

func timestamp(r Repository, version, snapshot int64, content []byte) metadata.TimestampType {
	t := metadata.Timestamp(r.expiry(trust.Timestamp))
	t.Signed.Version = version
	t.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": about(snapshot, content)}
	return t.Signed
}

// after is a timestamp's version above one, the seconds of now if they are: a centre signs
// timestamps as well, and of two the later has to win, wherever it was signed.
func after(version int64, now time.Time) int64 { return max(version+1, now.Unix()) }

// refers reports whether metadata names a file by its hash.
func refers(data, content []byte) bool { return bytes.Contains(data, []byte(hexSum(content))) }

// Renew stages metadata anew that a key signs for, as it is, so that it expires later: all
// but the root, which Rotate renews.
func (r Repository) Renew(k *Key) error {
	current, _, err := r.roots()
	if err != nil || current == nil {
		return errors.Join(err, errors.New("renew: no root has been published yet"))
	}
	for _, role := range order[1:] {
		if !slices.Contains(current.Roles[role].KeyIDs, k.ID) {
			continue
		}
		waiting, err := r.waiting(role)
		last, _, bad := r.last(role)
		if err := errors.Join(err, bad); err != nil || waiting != nil || last == nil {
			return err
		}
		if err := r.renew(role, last); err != nil {
			return err
		}
	}
	return nil
}

func (r Repository) renew(role string, last *envelope) error {
	version := last.head().Version + 1
	switch role {
	case trust.Targets:
		return r.stageTargets(nil)
	case trust.Snapshot:
		m, err := metadata.Snapshot().FromBytes(last.bytes())
		if err != nil {
			return fmt.Errorf("renew snapshot: %w", err)
		}
		m.Signed.Version, m.Signed.Expires = version, r.expiry(role)
		return r.stage(role, m.Signed)
	}
	m, err := metadata.Timestamp().FromBytes(last.bytes())
	if err != nil {
		return fmt.Errorf("renew timestamp: %w", err)
	}
	m.Signed.Version, m.Signed.Expires = after(version-1, r.now()), r.expiry(role)
	return r.stage(role, m.Signed)
}
