package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
)

// batchSize is how many bytes of records one transaction of Unpack has: it bounds
// memory.
const batchSize = 4 << 20

// Unpack makes the files of an archive in a folder, which is to be empty: buckets
// in files of bbolt, plain ones as they are. All of them are on disk when it returns
// nil; after an error none may be used. No other files are made than allowed.
func Unpack(ctx context.Context, dir string, r io.Reader, allowed []string) (_ Summary, err error) {
	u := unpacker{ctx: ctx, dir: dir, allowed: allowed, dbs: map[string]*bbolt.DB{}}
	s, err := Read(r, &u)
	if err == nil {
		err = u.flush()
	}
	for _, db := range u.dbs {
		if err == nil {
			err = db.Sync()
		}
		err = errors.Join(err, db.Close())
	}
	if err = errors.Join(err, u.closePlain()); err == nil {
		err = durable.SyncDir(dir)
	}
	return s, err
}

type unpacker struct {
	ctx     context.Context
	dir     string
	allowed []string
	dbs     map[string]*bbolt.DB
	db      *bbolt.DB
	bucket  []byte
	batch   []record
	size    int
	plain   *os.File
}

type record struct{ key, value []byte }

func (u *unpacker) Begin(Head) error { return nil }

// isBolt tells which files have buckets.
func isBolt(file string) bool { return strings.HasSuffix(file, ".db") }

func (u *unpacker) path(file string, bolt bool) (string, error) {
	if !slices.Contains(u.allowed, file) || isBolt(file) != bolt {
		return "", damaged("it holds a file %q, which no centre has", file)
	}
	return filepath.Join(u.dir, file), nil
}

func (u *unpacker) Bucket(file, bucket string) error {
	path, err := u.path(file, true)
	if err == nil {
		err = errors.Join(u.flush(), u.closePlain())
	}
	if err != nil {
		return err
	}
	if u.dbs[file] == nil {
		u.dbs[file], err = bbolt.Open(path, 0o600, &bbolt.Options{OpenFile: durable.Open, NoSync: true, FreelistType: bbolt.FreelistMapType, PageSize: boltpage.PageSize})
		if err != nil {
			return err
		}
	}
	u.db, u.bucket = u.dbs[file], []byte(bucket)
	return u.db.Update(func(tx *bbolt.Tx) error { return boltpage.MakeBuckets(tx, u.bucket) })
}

func (u *unpacker) Record(key, value []byte) error {
	u.batch = append(u.batch, record{bytes.Clone(key), bytes.Clone(value)})
	if u.size += len(key) + len(value); u.size < batchSize {
		return nil
	}
	return u.flush()
}

func (u *unpacker) flush() error {
	if err := u.ctx.Err(); err != nil || len(u.batch) == 0 {
		return err
	}
	err := u.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(u.bucket)
		b.FillPercent = 0.9 // keys only rise: pages are left nearly full
		for _, r := range u.batch {
			if err := b.Put(r.key, r.value); err != nil {
				return err
			}
		}
		return nil
	})
	u.batch, u.size = u.batch[:0], 0
	return err
}

func (u *unpacker) File(name string) error {
	path, err := u.path(name, false)
	if err == nil {
		err = errors.Join(u.flush(), u.closePlain())
	}
	if err == nil {
		u.plain, err = durable.Open(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	}
	return err
}

func (u *unpacker) Data(b []byte) error {
	_, err := u.plain.Write(b)
	return errors.Join(err, u.ctx.Err())
}

func (u *unpacker) closePlain() (err error) {
	if u.plain != nil {
		err = errors.Join(u.plain.Sync(), u.plain.Close())
		u.plain = nil
	}
	return err
}

// Check reads all of an archive and keeps nothing.
func Check(r io.Reader) (Summary, error) { return Read(r, nothing{}) }

type nothing struct{}

func (nothing) Begin(Head) error            { return nil }
func (nothing) Bucket(string, string) error { return nil }
func (nothing) Record(_, _ []byte) error    { return nil }
func (nothing) File(string) error           { return nil }
func (nothing) Data([]byte) error           { return nil }
