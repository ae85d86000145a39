package boltfile

import (
	"bytes"
	"errors"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// MetaRestored is what is missing since a backup was put back, in either file; in
// log.db claimPrefix and a depot's id is a word that is not believed yet.
var (
	MetaRestored = []byte("restored")
	claimPrefix  = []byte("claim/")
)

// ReadMissing reads what is missing; zero: nothing is. What cannot be read is as good
// as not there.
func ReadMissing(meta *bbolt.Bucket) judge.Period {
	p, err := values.DecodePeriod(MetaRestored, meta.Get(MetaRestored))
	if err != nil {
		return judge.Period{}
	}
	return p
}

// PutMissing writes it.
func PutMissing(meta *bbolt.Bucket, p judge.Period) error {
	return meta.Put(MetaRestored, values.EncodePeriod(MetaRestored, p))
}

// ReadLost reads what the log has of depots' words.
func ReadLost(meta *bbolt.Bucket) judge.Lost {
	l := judge.Lost{Missing: ReadMissing(meta), Claims: map[scan.DepotID]judge.Period{}}
	c := meta.Cursor()
	for k, v := c.Seek(claimPrefix); bytes.HasPrefix(k, claimPrefix); k, v = c.Next() {
		if p, err := values.DecodePeriod(k, v); err == nil {
			l.Claims[scan.DepotID(k[len(claimPrefix):])] = p
		}
	}
	return l
}

// PutLost writes it.
func PutLost(meta *bbolt.Bucket, l judge.Lost) (err error) {
	var old [][]byte
	c := meta.Cursor()
	for k, _ := c.Seek(claimPrefix); bytes.HasPrefix(k, claimPrefix); k, _ = c.Next() {
		old = append(old, bytes.Clone(k))
	}
	for _, k := range old {
		err = errors.Join(err, meta.Delete(k))
	}
	for id, p := range l.Claims {
		k := append(bytes.Clone(claimPrefix), id...)
		err = errors.Join(err, meta.Put(k, values.EncodePeriod(k, p)))
	}
	if l.Missing != (judge.Period{}) {
		err = errors.Join(err, PutMissing(meta, l.Missing))
	}
	return err
}
