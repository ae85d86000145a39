package identity

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"scanrelay/agent/scan"
)

// Documents is a table of named documents that all processes of a centre share; the
// store of a snapshot in a database has one.
type Documents interface {
	// Document returns one and its version; 0: there is none.
	Document(ctx context.Context, name string) (doc []byte, version int64, err error)
	// Documents calls each for those whose names begin so, in their order.
	Documents(ctx context.Context, prefix string, each func(name string, doc []byte) error) error
	// PutDocuments writes all or, where one has another version than was, none.
	PutDocuments(ctx context.Context, names []string, docs [][]byte, was []int64) (done bool, err error)
}

// Shared is the Store of several processes. It keeps nothing itself: what one of them
// has put, all see at once.
type Shared struct {
	documents Documents
	secret    []byte
}

// The names of its documents.
const (
	sharedPrefix = "identity/"
	secretName   = sharedPrefix + "secret"
)

// OpenShared makes the secret, where none of the processes has.
func OpenShared(ctx context.Context, documents Documents) (*Shared, error) {
	s := &Shared{documents: documents}
	for {
		doc, version, err := documents.Document(ctx, secretName)
		if err != nil || version != 0 {
			s.secret = doc
			return s, err
		}
		secret := make([]byte, 32)
		rand.Read(secret) // never fails
		if _, err := documents.PutDocuments(ctx, []string{secretName}, [][]byte{secret}, []int64{0}); err != nil {
			return nil, err
		}
	}
}

// Secret implements Store.
func (s *Shared) Secret(context.Context) ([]byte, error) { return s.secret, nil }

// View implements Store.
func (s *Shared) View(ctx context.Context, fn func(Tx) error) error {
	return fn(&sharedTx{ctx: ctx, documents: s.documents})
}

// maxTries bounds how often a change is made again since another process was faster.
const maxTries = 20

// Update implements Store: what was read and put must not have changed meanwhile,
// else all is done again.
func (s *Shared) Update(ctx context.Context, fn func(Tx) error) error {
	for range maxTries {
		t := &sharedTx{ctx: ctx, documents: s.documents, read: map[string]int64{}, put: map[string][]byte{}}
		if err := fn(t); err != nil || len(t.put) == 0 {
			return err
		}
		names := slices.Sorted(maps.Keys(t.put))
		docs, was := make([][]byte, len(names)), make([]int64, len(names))
		for i, name := range names {
			if _, known := t.read[name]; !known { // put without a look
				if _, err := t.get(name, &json.RawMessage{}); err != nil {
					return err
				}
			}
			docs[i], was[i] = t.put[name], t.read[name]
		}
		if done, err := s.documents.PutDocuments(ctx, names, docs, was); done || err != nil {
			return err
		}
	}
	return errors.New("identity: others change the same record all the time")
}

// sharedTx implements Tx.
type sharedTx struct {
	ctx       context.Context
	documents Documents
	read      map[string]int64  // versions; nil: reading only
	put       map[string][]byte // nil: reading only
}

func (t *sharedTx) get(name string, into any) (ok bool, err error) {
	doc, version, err := t.documents.Document(t.ctx, name)
	if err != nil {
		return false, err
	}
	if t.read != nil {
		t.read[name] = version
	}
	if version == 0 {
		return false, nil
	}
	if err := json.Unmarshal(doc, into); err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	return true, nil
}

func (t *sharedTx) set(name string, v any) error {
	if t.put == nil {
		return errors.New("identity: put while only reading")
	}
	doc, err := json.Marshal(v)
	t.put[name] = doc
	return err
}

func (t *sharedTx) Depot(id scan.DepotID) (*Registration, error) {
	var r Registration
	ok, err := t.get(sharedPrefix+depotKind+string(id), &r)
	if !ok {
		return nil, err
	}
	return &r, nil
}

func (t *sharedTx) PutDepot(r *Registration) error {
	return t.set(sharedPrefix+depotKind+string(r.ID), r)
}

func (t *sharedTx) Tickets() (all map[string]Ticket, err error) {
	_, err = t.get(sharedPrefix+ticketsName, &all)
	return all, err
}

func (t *sharedTx) PutTickets(all map[string]Ticket) error {
	return t.set(sharedPrefix+ticketsName, all)
}

func (t *sharedTx) Depots(each func(*Registration) error) error {
	return t.documents.Documents(t.ctx, sharedPrefix+depotKind, func(name string, doc []byte) error {
		var r Registration
		if err := json.Unmarshal(doc, &r); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		return each(&r)
	})
}
