package identity

import (
	"context"
	"time"

	"scanrelay/agent/scan"
)

// Store keeps registrations and join tokens. Several processes of one centre share
// one.
type Store interface {
	// Update runs fn; all that it put is kept, durably when Update returns, or
	// nothing of it when fn or Update fails. Of two that put the same record one
	// sees what the other has put.
	Update(ctx context.Context, fn func(Tx) error) error
	// View runs fn, which may only read. It sees what was put 5 s ago by whichever
	// process, and all of this one's: that bounds how long a revoked depot is let in.
	View(ctx context.Context, fn func(Tx) error) error
	// Secret is what nonces and sessions are sealed with, the same for all processes.
	Secret(ctx context.Context) ([]byte, error)
}

// Tx reads and writes the records. nil is none.
type Tx interface {
	Depot(id scan.DepotID) (*Registration, error)
	PutDepot(r *Registration) error
	// Depots calls each in the order of their ids.
	Depots(each func(*Registration) error) error
	// Tickets are all join tokens, by their hash.
	Tickets() (map[string]Ticket, error)
	PutTickets(all map[string]Ticket) error
}

// Registration is one depot.
type Registration struct {
	ID      scan.DepotID      `json:"id"`
	Name    string            `json:"name,omitempty"`
	Site    string            `json:"site,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Created time.Time         `json:"created"`

	Open    string    `json:"open,omitempty"` // hash of the token that waits for a gateway
	Expires time.Time `json:"expires,omitzero"`

	Key      []byte    `json:"key,omitempty"`  // the public key that counts
	By       string    `json:"by,omitempty"`   // hash of the token that brought it
	Next     []byte    `json:"next,omitempty"` // takes its place once it is proven
	Enrolled time.Time `json:"enrolled,omitzero"`
	Past     []PastKey `json:"past,omitempty"`

	Revoked time.Time `json:"revoked,omitzero"`
	Reason  string    `json:"reason,omitempty"`

	Session string    `json:"session,omitempty"` // the name of the live one
	Used    []Used    `json:"used,omitempty"`    // nonces that must not come again
	Boot    string    `json:"boot,omitempty"`    // of the live session
	Boots   []string  `json:"boots,omitempty"`   // whose place it took
	Cloned  time.Time `json:"cloned,omitzero"`   // when one of these came back last
	Clones  int       `json:"clones,omitempty"`  // how often

	ended   []end // by this change
	damaged bool  // it could not be read: nobody is let in by it
}

func unreadable(id scan.DepotID) *Registration { return &Registration{ID: id, damaged: true} }

// PastKey is a key that counts no more.
type PastKey struct {
	Fingerprint string    `json:"fingerprint"`
	Until       time.Time `json:"until"`
	Why         string    `json:"why"`
}

// Used is a nonce that was used.
type Used struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// Ticket is a join token, which serves a series of depots.
type Ticket struct {
	Expires time.Time `json:"expires"`
	IDs     string    `json:"ids"`  // pattern of the ids that may join
	Left    int       `json:"left"` // how many more
}

// State is a word for where a registration stands.
func (r *Registration) State() string {
	switch {
	case r.damaged:
		return "damaged"
	case !r.Revoked.IsZero():
		return "revoked"
	case len(r.Key) > 0:
		return "enrolled"
	}
	return "invited"
}
