package identity

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/documents"
)

// Shared is the Store of several processes. It keeps nothing itself: what one of them
// has put, all see at once.
type Shared struct {
	table  documents.Table
	secret []byte
}

// The names of its documents. What was damaged is kept under brokenPrefix, its name and
// version.
const (
	sharedPrefix = "identity/"
	secretName   = sharedPrefix + "secret"
	secretSum    = sharedPrefix + "secret.sum"
	brokenPrefix = "broken/"
)

// OpenShared makes the secret, where none of the processes has, or where it cannot be
// read: then depots make new sessions.
func OpenShared(ctx context.Context, table documents.Table) (*Shared, error) {
	s := &Shared{table: table}
	for {
		doc, version, err := table.Document(ctx, secretName)
		if err != nil {
			return nil, err
		}
		sum, sumVersion, err := table.Document(ctx, secretSum) // beside it: a version before takes all of it for the secret
		if err != nil {
			return nil, err
		}
		fits := len(doc) == secretSize && (sum == nil || bytes.Equal(sum, documents.Seal(secretName, doc)))
		if fits && sum != nil {
			s.secret = doc
			return s, nil
		}
		if doc != nil && !fits {
			table.NoteDamage(brokenSecret)
		}
		if !fits {
			doc = make([]byte, secretSize)
			rand.Read(doc) // never fails
		}
		if _, err := table.PutDocuments(ctx, []string{secretName, secretSum}, [][]byte{doc, documents.Seal(secretName, doc)}, []int64{version, sumVersion}); err != nil {
			return nil, err
		}
	}
}

const secretSize = 32

// Secret implements Store.
func (s *Shared) Secret(context.Context) ([]byte, error) { return s.secret, nil }

// View implements Store.
func (s *Shared) View(ctx context.Context, fn func(Tx) error) error {
	return fn(&sharedTx{ctx: ctx, table: s.table})
}

// maxTries bounds how often a change is made again since another process was faster.
const maxTries = 20

// Update implements Store: what was read and put must not have changed meanwhile,
// else all is done again.
func (s *Shared) Update(ctx context.Context, fn func(Tx) error) error {
	for range maxTries {
		t := &sharedTx{ctx: ctx, table: s.table, read: map[string]int64{}, put: map[string][]byte{}, broken: map[string][]byte{}}
		if err := fn(t); err != nil || len(t.put) == 0 {
			return err
		}
		names := slices.Sorted(maps.Keys(t.put))
		docs, was := make([][]byte, len(names)), make([]int64, len(names))
		for i, name := range names { // those set aside are new
			if _, known := t.read[name]; !known { // put without a look
				if _, _, err := t.get(name, &json.RawMessage{}); err != nil {
					return err
				}
			}
			docs[i], was[i] = t.put[name], t.read[name]
			if broken := t.broken[name]; broken != nil {
				aside := fmt.Sprintf("%s%s/%d", brokenPrefix, name, was[i])
				names, docs, was = append(names, aside), append(docs, broken), append(was, 0)
			}
		}
		if done, err := s.table.PutDocuments(ctx, names, docs, was); done || err != nil {
			return err
		}
	}
	return errors.New("identity: others change the same record all the time")
}

// sharedTx implements Tx.
type sharedTx struct {
	ctx    context.Context
	table  documents.Table
	read   map[string]int64  // versions; nil: reading only
	put    map[string][]byte // nil: reading only
	broken map[string][]byte // what was read of damaged ones; nil: reading only
}

// get reads a document. One that is damaged is told of, and kept aside if another is
// put in its place.
func (t *sharedTx) get(name string, into any) (ok, damaged bool, err error) {
	doc, version, err := t.table.Document(t.ctx, name)
	if err != nil {
		return false, false, err
	}
	if t.read != nil {
		t.read[name] = version
	}
	if doc == nil {
		return false, false, nil
	}
	if documents.Open(name, doc, into) != nil {
		if t.broken != nil {
			t.broken[name] = doc
		}
		t.table.NoteDamage(brokenDocument(name))
		return true, true, nil
	}
	return true, false, nil
}

// brokenDocument says what a damaged document costs.
func brokenDocument(name string) string {
	if id, ok := strings.CutPrefix(name, sharedPrefix+depotKind); ok {
		return fmt.Sprintf("the registration of depot %s (document %s) is unreadable: it is let in by nothing; put the document back from a backup, or scanrelay depot reset %[1]s and enrol its gateway again", id, name)
	}
	return fmt.Sprintf("the join tokens (document %s) are unreadable: make new ones", name)
}

func (t *sharedTx) set(name string, v any) error {
	if t.put == nil {
		return errors.New("identity: put while only reading")
	}
	doc, err := json.Marshal(v)
	t.put[name] = documents.Seal(name, doc)
	return err
}

func (t *sharedTx) Depot(id scan.DepotID) (*Registration, error) {
	var r Registration
	ok, damaged, err := t.get(sharedPrefix+depotKind+string(id), &r)
	switch {
	case !ok:
		return nil, err
	case damaged:
		return unreadable(id), nil
	}
	return &r, nil
}

func (t *sharedTx) PutDepot(r *Registration) error {
	return t.set(sharedPrefix+depotKind+string(r.ID), r)
}

func (t *sharedTx) Tickets() (all map[string]Ticket, err error) {
	_, damaged, err := t.get(sharedPrefix+ticketsName, &all)
	if damaged {
		return nil, nil
	}
	return all, err
}

func (t *sharedTx) PutTickets(all map[string]Ticket) error {
	return t.set(sharedPrefix+ticketsName, all)
}

func (t *sharedTx) Depots(each func(*Registration) error) error {
	return t.table.Documents(t.ctx, sharedPrefix+depotKind, func(name string, doc []byte) error {
		var r Registration
		if documents.Open(name, doc, &r) != nil {
			t.table.NoteDamage(brokenDocument(name))
			return each(unreadable(scan.DepotID(strings.TrimPrefix(name, sharedPrefix+depotKind))))
		}
		return each(&r)
	})
}

// CheckShared reads all documents, and tells which are damaged.
func CheckShared(ctx context.Context, table documents.Table, tell func(what string)) error {
	var secret []byte
	return table.Documents(ctx, sharedPrefix, func(name string, doc []byte) error {
		switch {
		case name == secretName:
			if secret = doc; len(doc) != secretSize {
				tell(brokenSecret)
			}
		case name == secretSum:
			if !bytes.Equal(doc, documents.Seal(secretName, secret)) {
				tell(brokenSecret)
			}
		case strings.HasPrefix(name, sharedPrefix+depotKind) && documents.Open(name, doc, &Registration{}) != nil, documents.Open(name, doc, &json.RawMessage{}) != nil:
			tell(brokenDocument(name))
		}
		return nil
	})
}

const brokenSecret = "the key of sessions is unreadable: a start makes another, and depots make new sessions; then restart the other processes of this centre"
