package release

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"
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
	From     []string // versions from which deltas are made
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
			for _, version := range rel.From {
				added, err := r.putDelta(targets, customs[path], version, contents[path])
				if err != nil {
					return err
				}
				list = append(list, added)
			}
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

// putDelta adds the way to a program from the one of an older version.
func (r Repository) putDelta(targets map[string]*metadata.TargetFiles, c trust.Custom, from string, content []byte) (a Added, err error) {
	old := c
	old.Version = from
	is := targets[old.Path()]
	if is == nil {
		return a, fmt.Errorf("make delta: there is no %s to start from", old.Path())
	}
	base, err := r.stored(trust.Target{
		Name: old.Name, Version: from, OS: c.OS, Arch: c.Arch, GOARM: c.GOARM, Length: is.Length, SHA256: hex.EncodeToString(is.Hashes["sha256"]),
	})
	if err != nil {
		return a, err
	}
	delta, err := deltaOf(base, content)
	if err != nil {
		return a, fmt.Errorf("make delta from %s: %w", old.Path(), err)
	}
	c.MinFrom, c.Store, c.Protocol = "", nil, nil
	c.Delta = &trust.Source{From: from, SHA256: hexSum(base)}
	if err := c.Valid(); err != nil {
		return a, fmt.Errorf("make delta: %w", err)
	}
	if there := targets[c.Path()]; there != nil && there.Length <= int64(len(delta)) {
		return Added{Path: c.Path(), Length: there.Length}, nil // made before, by another compressor maybe
	}
	delete(targets, c.Path())
	return Added{Path: c.Path(), Length: int64(len(delta))}, r.put(targets, c, delta)
}

// deltaOf compresses a program with another one as its dictionary.
func deltaOf(base, content []byte) ([]byte, error) {
	if len(base) > trust.MaxProgram || len(content) > trust.MaxProgram {
		return nil, fmt.Errorf("programs of %d and %d bytes are too large: gateways hold both in memory", len(base), len(content))
	}
	window := 1 << 20
	for window < len(base)+len(content) {
		window *= 2
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderDictRaw(trust.DictionaryID, base), zstd.WithWindowSize(window),
		zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return z.EncodeAll(content, nil), z.Close()
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
