package trust

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Target is a program that may be installed.
type Target struct {
	Name, Version, OS, Arch, GOARM string

	Length  int64
	SHA256  string // hex, small letters
	MinFrom string // what must run before it; "": anything
	Store   Range  // of formats that it reads
	// Protocol is of versions that it speaks with the centre.
	Protocol Range
	Deltas   []Delta
}

// Delta is the way to a Target from a program that is here already.
type Delta struct {
	From, FromSHA256 string
	Length           int64
	SHA256           string
}

// Range is both ends included; zero: it was not said.
type Range struct {
	Min int64 `json:"min"`
	Max int64 `json:"max"`
}

// Custom is what targets metadata says of a file beside length and hash. The path says
// it again; a file whose path says something else is refused.
type Custom struct {
	Name     string  `json:"name"`
	Version  string  `json:"version"`
	OS       string  `json:"os"`
	Arch     string  `json:"arch"`
	GOARM    string  `json:"goarm,omitempty"`
	MinFrom  string  `json:"min_from,omitempty"`
	Store    *Range  `json:"store,omitempty"`
	Protocol *Range  `json:"protocol,omitempty"`
	Delta    *Source `json:"delta,omitempty"` // the file is a delta to what the rest names
}

// Source is the program that a delta starts from.
type Source struct {
	From   string `json:"from"`
	SHA256 string `json:"sha256"`
}

// Path is where a file is in metadata, as scanrelay/1.2.0/linux-arm-6.
func (c Custom) Path() string {
	p := path.Join(c.Name, c.Version, machine(c.OS, c.Arch, c.GOARM, "-"))
	if c.Delta != nil {
		p += ".from-" + c.Delta.From
	}
	return p
}

// machine is as linux/arm/6.
func machine(os, arch, goarm, between string) string {
	m := os + between + arch
	if goarm != "" {
		m += between + goarm
	}
	return m
}

// Machine is what the Target is for, as linux/arm/6.
func (t Target) Machine() string { return machine(t.OS, t.Arch, t.GOARM, "/") }

// custom is where the target is.
func (t Target) custom() Custom {
	return Custom{Name: t.Name, Version: t.Version, OS: t.OS, Arch: t.Arch, GOARM: t.GOARM}
}

// Stored is the name of the target's file in the repository.
func (t Target) Stored() string { return Stored(t.custom().Path(), t.SHA256) }

// Stored is the name of a file in the repository, which begins with its hash.
func Stored(name, sha256 string) string {
	dir, base := path.Split(name)
	return "targets/" + dir + sha256 + "." + base
}

var (
	word  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
	goarm = regexp.MustCompile(`^[5-7]$`)
)

// Valid holds that everything is written as paths and versions are.
func (c Custom) Valid() error {
	if !word.MatchString(c.Name) || !word.MatchString(c.OS) || !word.MatchString(c.Arch) {
		return fmt.Errorf("name %.40q, os %.40q and arch %.40q must be small letters and digits", c.Name, c.OS, c.Arch)
	}
	if (c.Arch == "arm") != goarm.MatchString(c.GOARM) || c.Arch != "arm" && c.GOARM != "" {
		return fmt.Errorf("GOARM %.40q does not go with %s", c.GOARM, c.Arch)
	}
	if c.Delta != nil {
		if _, err := unhex(c.Delta.SHA256); err != nil {
			return fmt.Errorf("the SHA-256 that the delta starts from: %w", err)
		}
	}
	var before []string
	if c.MinFrom != "" {
		before = append(before, c.MinFrom)
	}
	if c.Delta != nil {
		before = append(before, c.Delta.From)
	}
	if !plain(c.Version) {
		return fmt.Errorf("version %.40q must be as 1.2.3 or 1.2.3-rc.1", c.Version)
	}
	for _, v := range before {
		if !plain(v) || Compare(v, c.Version) >= 0 {
			return fmt.Errorf("version %s needs or starts from %.40q, which is not an older one", c.Version, v)
		}
	}
	return nil
}

// plain reports whether a version is one that releases have.
func plain(v string) bool {
	_, err := parse(v)
	return err == nil && !strings.Contains(v, "+")
}

// list reads what the targets are. A file whose custom part names nothing is not for
// gateways.
func (t *targets) list() ([]Target, error) {
	var list []Target
	deltas := map[string][]Delta{}
	for _, name := range slices.Sorted(maps.Keys(t.Targets)) {
		f := t.Targets[name]
		if err := digest(f.Hashes); err != nil {
			return nil, fmt.Errorf("target %.80q: %w", name, err)
		}
		if f.Length < 1 {
			return nil, fmt.Errorf("target %.80q: its length is %d", name, f.Length)
		}
		var c Custom
		if len(f.Custom) > 0 {
			if err := json.Unmarshal(f.Custom, &c); err != nil {
				return nil, fmt.Errorf("target %.80q: custom: %w", name, err)
			}
		}
		if c.Name == "" {
			continue
		}
		if err := c.Valid(); err != nil {
			return nil, fmt.Errorf("target %.80q: %w", name, err)
		}
		if c.Path() != name {
			return nil, fmt.Errorf("target %.80q: wrong target: its custom part is of %s", name, c.Path())
		}
		target := Target{
			Name: c.Name, Version: c.Version, OS: c.OS, Arch: c.Arch, GOARM: c.GOARM,
			Length: f.Length, SHA256: f.Hashes["sha256"], MinFrom: c.MinFrom,
		}
		if c.Delta != nil {
			whole := target.custom().Path()
			deltas[whole] = append(deltas[whole], Delta{From: c.Delta.From, FromSHA256: c.Delta.SHA256, Length: f.Length, SHA256: target.SHA256})
			continue
		}
		if c.Store != nil {
			target.Store = *c.Store
		}
		if c.Protocol != nil {
			target.Protocol = *c.Protocol
		}
		list = append(list, target)
	}
	for i := range list {
		list[i].Deltas = deltas[list[i].custom().Path()]
	}
	return list, nil
}

// ErrNothing: there is nothing newer to install.
var ErrNothing = errors.New("nothing to install")

// Choose names the next program to install on the way from current to wanted, the newest
// if that is "": each may say what must run before it. It is ErrNothing where that
// runs already.
func (v Verified) Choose(name, os, arch, goarm, current, wanted string) (Target, error) {
	list := v.fitting(name, os, arch, goarm)
	if len(list) == 0 {
		return Target{}, refuse("choose %s: there is none for %s; there is %s", name, machine(os, arch, goarm, "/"), cmp.Or(strings.Join(v.machines(name), ", "), "nothing"))
	}
	if wanted == "" {
		wanted = list[len(list)-1].Version
		if Compare(wanted, current) < 0 {
			return Target{}, fmt.Errorf("%w: %s is newer than all there is", ErrNothing, current)
		}
	}
	if !slices.ContainsFunc(list, func(t Target) bool { return t.Version == wanted }) {
		return Target{}, refuse("choose %s: there is no %.40s for %s", name, wanted, machine(os, arch, goarm, "/"))
	}
	switch Compare(wanted, current) {
	case -1:
		return Target{}, refuse("choose %s: %s is older than %s, which runs; nothing older is downloaded", name, wanted, current)
	case 0:
		return Target{}, fmt.Errorf("%w: %s runs", ErrNothing, current)
	}
	var first *Target
	for at := current; at != wanted; {
		next := step(list, at, wanted)
		if next == nil {
			i := slices.IndexFunc(list, func(t Target) bool { return t.Version == wanted })
			return Target{}, refuse("choose %s: %s needs %s to run before it, and no step leads there from %s", name, wanted, list[i].MinFrom, at)
		}
		if first == nil {
			first = next
		}
		at = next.Version
	}
	return *first, nil
}

// step is the longest one: whoever gets further may take whatever comes next as well.
func step(list []Target, at, wanted string) *Target {
	for i := len(list) - 1; i >= 0; i-- {
		t := &list[i]
		if Compare(t.Version, wanted) <= 0 && Compare(t.Version, at) > 0 && (t.MinFrom == "" || Compare(at, t.MinFrom) >= 0) {
			return t
		}
	}
	return nil
}

// fitting are the targets for a machine, by version. An ARM runs what was built for
// an older one; of one version it gets what was built for the newest.
func (v Verified) fitting(name, os, arch, goarm string) []Target {
	var list []Target
	for _, t := range v.Targets {
		if t.Name == name && t.OS == os && t.Arch == arch && t.GOARM <= goarm {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b Target) int {
		return cmp.Or(Compare(a.Version, b.Version), strings.Compare(b.GOARM, a.GOARM))
	})
	return slices.CompactFunc(list, func(a, b Target) bool { return a.Version == b.Version })
}

func (v Verified) machines(name string) (list []string) {
	for _, t := range v.Targets {
		if t.Name == name {
			list = append(list, t.Machine())
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
