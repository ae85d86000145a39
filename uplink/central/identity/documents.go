package identity

import (
	"context"
	"encoding/json"
	"hash/crc64"
	"maps"
	"slices"
	"strings"
)

// The journal keeps other rooms' records as well: it is documents.Table for one process.
// A record's version is a sum of what it says, so that none has to be kept: who puts back
// what was there before has changed nothing.

var ecma = crc64.MakeTable(crc64.ECMA)

func versionOf(doc []byte) int64 {
	if doc == nil {
		return 0
	}
	return int64(crc64.Checksum(doc, ecma)>>1) | 1
}

// Document implements documents.Table.
func (j *Journal) Document(_ context.Context, name string) (doc []byte, version int64, err error) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	doc = j.records[name]
	return doc, versionOf(doc), nil
}

// Documents implements documents.Table.
func (j *Journal) Documents(_ context.Context, prefix string, each func(name string, doc []byte) error) error {
	j.mu.RLock()
	all := maps.Clone(j.records)
	j.mu.RUnlock()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(name, prefix) {
			if err := each(name, all[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// PutDocuments implements documents.Table.
func (j *Journal) PutDocuments(ctx context.Context, names []string, docs [][]byte, was []int64) (done bool, err error) {
	err = j.Update(ctx, func(t Tx) error {
		for i, name := range names {
			if versionOf(t.(*tx).doc(name)) != was[i] {
				return nil
			}
		}
		for i, name := range names {
			t.(*tx).put[name] = json.RawMessage(docs[i])
		}
		done = true
		return nil
	})
	return done && err == nil, err
}

// NoteDamage implements documents.Table.
func (j *Journal) NoteDamage(what string) {
	j.log.Error("a record of the centre is damaged", "what", what, "file", JournalName)
}
