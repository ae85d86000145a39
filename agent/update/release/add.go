package release

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"scanrelay/agent/update/trust"
	"scanrelay/store/durable"
)

// Release is what Add is told of one beside its files.
type Release struct {
	Name     string // of the program
	Version  string
	MinFrom  string
	GOARM    string // where the programs do not say
	Store    *trust.Range
	Protocol *trust.Range
}

// Added is a file that Add put into the repository.
type Added struct {
	Path   string
	Length int64
}

// Add puts a version's programs into the repository and stages the targets that name
// them.
func (r Repository) Add(rel Release, files []string) (list []Added, err error) {
	customs := map[string]trust.Custom{}
	contents := map[string][]byte{}
	for _, file := range files {
		content, err := Program(file, rel.Name)
		if err != nil {
			return nil, err
		}
		c, err := Machine(content, rel.GOARM)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		c.Name, c.Version, c.MinFrom, c.Store, c.Protocol = rel.Name, rel.Version, rel.MinFrom, rel.Store, rel.Protocol
		if err := c.Valid(); err != nil {
			return nil, fmt.Errorf("add %s: %w", file, err)
		}
		if _, twice := customs[c.Path()]; twice {
			return nil, fmt.Errorf("add %s: there are two programs for %s", file, c.Path())
		}
		customs[c.Path()], contents[c.Path()] = c, content
	}
	err = r.stageTargets(func(targets map[string]*metadata.TargetFiles) error {
		for _, path := range slices.Sorted(maps.Keys(customs)) {
			if err := r.put(targets, customs[path], contents[path]); err != nil {
				return err
			}
			list = append(list, Added{Path: path, Length: int64(len(contents[path]))})
		}
		return nil
	})
	return list, err
}

// put adds one file to targets. What was published never changes: a gateway that has it
// would have another program of the same version.
func (r Repository) put(targets map[string]*metadata.TargetFiles, c trust.Custom, content []byte) error {
	custom, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode custom: %w", err)
	}
	raw := json.RawMessage(custom)
	file := &metadata.TargetFiles{Length: int64(len(content)), Hashes: about(1, content).Hashes, Custom: &raw}
	if is := targets[c.Path()]; is != nil && !is.Hashes.Equal(file.Hashes) {
		return fmt.Errorf("add %s: it is there already, and is another program: take a new version", c.Path())
	}
	targets[c.Path()] = file
	return r.write(r.path(trust.Stored(c.Path(), hexSum(content))), content)
}

// stageTargets stages the targets, changed if there is a change, and what was signed of
// what is staged is not any more.
func (r Repository) stageTargets(change func(map[string]*metadata.TargetFiles) error) error {
	t := metadata.Targets()
	last, _, err := r.last(trust.Targets)
	if err != nil {
		return err
	}
	version := int64(1)
	if last != nil {
		version = last.head().Version + 1
	}
	waiting, err := r.waiting(trust.Targets)
	if err != nil {
		return err
	}
	if waiting != nil {
		last = waiting
	}
	if last != nil {
		if t, err = metadata.Targets().FromBytes(last.bytes()); err != nil {
			return fmt.Errorf("read targets: %w", err)
		}
	}
	if change != nil {
		if err := change(t.Signed.Targets); err != nil {
			return err
		}
	}
	t.Signed.Version, t.Signed.Expires = version, r.expiry(trust.Targets)
	return r.stage(trust.Targets, t.Signed)
}

// stored is a file of the repository that is the target's to the last bit.
func (r Repository) stored(t trust.Target) ([]byte, error) {
	path := r.path(t.Stored())
	if err := t.Check(path); err != nil {
		return nil, err
	}
	return durable.ReadFile(path)
}
