package release

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"scanrelay/agent/update/trust"
	"scanrelay/configs/secret"
	"scanrelay/store/durable"
)

// RootKeys and RootThreshold are of who may change the keys: two of three people, each
// with a key of their own that is online nowhere.
const (
	RootKeys      = 3
	RootThreshold = 2
)

// Init makes a repository: its keys, which are put into a folder, and the first root. The
// root's keys may be others' that were made elsewhere: then they sign it later.
func (r Repository) Init(keys string, passphrase secret.Text, roots []*Key) error {
	if len(roots) != 0 && len(roots) < RootThreshold {
		return fmt.Errorf("init: %d root keys are given, %d sign together: give %d", len(roots), RootThreshold, RootKeys)
	}
	if durable.Exists(r.path("1.root.json")) || durable.Exists(r.staged(trust.Root)) {
		return fmt.Errorf("init: there is a repository in %s already", r.Dir)
	}
	for _, dir := range []string{r.Dir, keys} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("init: %w", err)
		}
	}
	if err := os.Chmod(keys, 0o700); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	made := map[string][]*Key{trust.Root: roots}
	add := func(role, name string) error {
		k, err := NewKey(filepath.Join(keys, name+".key"), passphrase)
		made[role] = append(made[role], k)
		return err
	}
	for n := 1; n <= RootKeys && len(roots) == 0; n++ {
		if err := add(trust.Root, fmt.Sprintf("root-%d", n)); err != nil {
			return err
		}
	}
	for _, role := range order[1:] {
		if err := add(role, role); err != nil {
			return err
		}
	}
	if err := r.firstRoot(made); err != nil {
		return err
	}
	if err := r.stageTargets(nil); err != nil {
		return err
	}
	for _, role := range order {
		for _, k := range made[role] {
			if k.seed == nil {
				continue
			}
			if _, err := r.Sign(k); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r Repository) firstRoot(keys map[string][]*Key) error {
	root := metadata.Root(r.expiry(trust.Root))
	for role, list := range keys {
		for _, k := range list {
			if err := root.Signed.AddKey(k.public, role); err != nil {
				return fmt.Errorf("make root: %w", err)
			}
		}
	}
	root.Signed.Roles[trust.Root].Threshold = RootThreshold
	return r.stage(trust.Root, root.Signed)
}

// Rotate stages a root in which a role has a key less, by its id, or more, or both. Without
// either it is renewed as it is. The keys of the root before sign it, and its own.
func (r Repository) Rotate(role, old string, with *Key) error {
	current, next, err := r.roots()
	if err != nil {
		return err
	}
	if current == nil || next != nil {
		return fmt.Errorf("rotate: root %d still waits for signatures", next.Version)
	}
	current.Version, current.Expires = current.Version+1, r.expiry(trust.Root)
	if old != "" {
		if err := current.RevokeKey(old, role); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	if with != nil {
		if err := current.AddKey(with.public, role); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	if have, need := len(current.Roles[role].KeyIDs), current.Roles[role].Threshold; have < need {
		return fmt.Errorf("rotate: %s would have %d keys, and needs %d to sign: give a new one", role, have, need)
	}
	return r.stage(trust.Root, *current)
}
