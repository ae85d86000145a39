package boltfile

import (
	"bytes"
	"encoding/binary"

	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot/values"
)

// The index of ages: kind, hour of the last change, key. An entry is made with
// what it stands for, and moved when its hour has come and it is found younger; so
// what does not change costs nothing, and nothing young is ever looked at.
const (
	AgeOfWaybill = 'w'
	AgeOfBinding = 'b'
)

const hour = 3600

// AgeKey is the key of an entry; at is in unix seconds.
func AgeKey(kind byte, at int64, key []byte) []byte {
	k := binary.BigEndian.AppendUint32([]byte{kind}, uint32(max(at, 0)/hour))
	return append(k, key...)
}

// Older gives the entries of a kind that are older than before, from a key on, up to
// most of them, and returns where to go on; nil: at the end.
func Older(r *boltpage.Finder, kind byte, before int64, from []byte, most int, each func(entry, key []byte) error) (next []byte, err error) {
	end := AgeKey(kind, before, nil)
	if bytes.Compare(from, []byte{kind}) < 0 {
		from = []byte{kind}
	}
	i := 0
	r.Scan(string(Aging), from, func(k, v []byte) bool {
		if bytes.Compare(k, end) >= 0 {
			return false
		}
		if i++; i > most {
			next = bytes.Clone(k)
			return false
		}
		if _, err = values.Unseal(k, v); err == nil {
			err = each(bytes.Clone(k), bytes.Clone(k[len(end):]))
		}
		return err == nil
	}, func(h *boltpage.Hole) bool {
		err = h
		return false
	})
	return next, err
}
