package trust

import (
	"fmt"
	"time"

	"scanrelay/store/durable"
)

// State is what was verified so far. Metadata is kept as it came: after the keys have
// changed it has to be verified anew, and what the old keys alone signed is forgotten,
// so that a stolen key cannot fast-forward versions for good.
type State struct {
	Root      []byte    `json:"root"`
	Timestamp []byte    `json:"timestamp,omitempty"`
	Snapshot  []byte    `json:"snapshot,omitempty"`
	Floor     time.Time `json:"floor"` // by which expiry is judged
}

// File is where a State is kept, for its owner. A file of zero bytes, NULs or garbage is
// an error that names it, and Read keeps it aside; NewState then begins anew.
func File(path string) durable.Sealed {
	return durable.Sealed{Path: path, Title: "scanrelay update trust", Version: 1}
}

// NewState begins with a root that was given by hand, as with the package, and the date
// of the build.
func NewState(rootFile []byte, built time.Time) (State, error) {
	if _, err := trusted(rootFile); err != nil {
		return State{}, fmt.Errorf("read the first root: %w", err)
	}
	return State{Root: rootFile, Floor: built}, nil
}

// trusted reads a root that is believed, if it is whole.
func trusted(data []byte) (*root, error) {
	r := &root{}
	e, err := read(Root, data, r)
	if err != nil {
		return nil, err
	}
	return r, r.verify(Root, e)
}

// furthest is how far ahead a centre's time is believed: whose clock jumped to 2099 once
// must not expire everything for good. A gateway that lay on a shelf for longer needs
// Raise by its root.
const furthest = 5 * 366 * 24 * time.Hour

// Saw takes the time that the authenticated centre gave.
func (s *State) Saw(at time.Time) error {
	if s.Floor.Year() > 1 && at.Sub(s.Floor) > furthest {
		return fmt.Errorf("believe the centre's time %s: it is more than five years ahead of %s", at.UTC().Format(time.RFC3339), s.Floor.UTC().Format(time.RFC3339))
	}
	s.Raise(at)
	return nil
}

// Raise takes a time that is certain, as a build's date. The floor only rises; root
// may set it lower by hand.
func (s *State) Raise(at time.Time) {
	if at.After(s.Floor) {
		s.Floor = at.UTC()
	}
}
