package documents

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"scanrelay/store/durable"
)

// Table is named documents. One that is put is durable when PutDocuments returns.
type Table interface {
	// Document returns one and its version; nil and 0: there is none.
	Document(ctx context.Context, name string) (doc []byte, version int64, err error)
	// Documents calls each for those whose names begin so, in their order.
	Documents(ctx context.Context, prefix string, each func(name string, doc []byte) error) error
	// PutDocuments writes all or, where one has another version than was, none.
	PutDocuments(ctx context.Context, names []string, docs [][]byte, was []int64) (done bool, err error)
	// NoteDamage tells of something that is found broken.
	NoteDamage(what string)
}

// sumBits is how many blanks the sum is written in: JSON takes them for nothing.
const sumBits = 32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal ends a document in a sum, of its name and the text before, so that who knows
// nothing of sums reads it too.
func Seal(name string, text []byte) []byte {
	sum := crc32.Update(crc32.Checksum([]byte(name), castagnoli), castagnoli, text)
	out := bytes.Clone(text)
	for i := range sumBits {
		out = append(out, " \t"[sum>>i&1])
	}
	return out
}

// Open reads a document, sealed or without a sum; durable.ErrDamaged: it is not what was
// put.
func Open(name string, doc []byte, into any) error {
	text := doc[:max(0, len(doc)-sumBits)]
	if ends := doc[len(text):]; len(ends) == sumBits && len(bytes.Trim(ends, " \t")) == 0 && !bytes.Equal(doc, Seal(name, text)) {
		return durable.ErrDamaged
	}
	if err := json.Unmarshal(doc, into); err != nil { // whose words may quote it
		return durable.ErrDamaged
	}
	return nil
}

// Get reads one document; false: there is none.
func Get(ctx context.Context, t Table, name string, into any) (version int64, err error) {
	doc, version, err := t.Document(ctx, name)
	if err != nil || doc == nil {
		return version, err
	}
	if err := Open(name, doc, into); err != nil {
		return version, fmt.Errorf("read document %s: %w", name, err)
	}
	return version, nil
}

// Put writes values under their names if each still has the version it was read with.
func Put(ctx context.Context, t Table, was map[string]int64, values map[string]any) (done bool, err error) {
	var names []string
	var docs [][]byte
	var versions []int64
	for name, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			return false, fmt.Errorf("write document %s: %w", name, err)
		}
		names, docs, versions = append(names, name), append(docs, Seal(name, text)), append(versions, was[name])
	}
	return t.PutDocuments(ctx, names, docs, versions)
}

// maxTries bounds how often a change is made again since another was faster.
const maxTries = 20

// Change reads a document, has fn change it and puts it, until nobody else was faster.
// Without a change nothing is put.
func Change[T any](ctx context.Context, t Table, name string, fn func(*T) (changed bool, err error)) (now T, err error) {
	for range maxTries {
		var v T
		version, err := Get(ctx, t, name, &v)
		if err != nil {
			return v, err
		}
		if changed, err := fn(&v); err != nil || !changed {
			return v, err
		}
		if done, err := Put(ctx, t, map[string]int64{name: version}, map[string]any{name: v}); done || err != nil {
			return v, err
		}
	}
	return now, fmt.Errorf("change document %s: others change it all the time", name)
}
