package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
)

// openQuarantine opens or makes the file. A damaged one is set aside.
func openQuarantine(dir string, o *Options, key *crypt.Cipher) (*quarantine, error) {
	q := &quarantine{
		path: filepath.Join(dir, quarantineName), size: max(o.QuarantineSize, minQuarantine),
		maxCount: o.QuarantineCount, log: o.Logger, commit: o.commit, cipher: key,
	}
	err := q.open(false)
	if errors.Is(err, fs.ErrNotExist) {
		err = q.make()
	} else if err != nil && !errors.Is(err, ErrNewer) && !errors.Is(err, fs.ErrPermission) {
		q.log.Error("quarantine cannot be read and is set aside", "error", err)
		if q.aside, err = durable.SetAside(q.path); err == nil {
			err = q.make()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	return q, nil
}

// openQuarantineReadOnly opens the file if it is there.
func openQuarantineReadOnly(dir string, o *Options, key *crypt.Cipher) (*quarantine, error) {
	q := &quarantine{path: filepath.Join(dir, quarantineName), log: o.Logger, cipher: key, quarantineCounts: quarantineCounts{next: 1}}
	if err := q.open(true); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	return q, nil
}

// make creates the file under a temporary name, whole or not at all.
func (q *quarantine) make() error {
	temp := q.path + durable.TempSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m := codec.FileMeta{Format: codec.Version, Size: q.size}
	err := initQuarantine(temp, &m)
	if err == nil {
		err = durable.Sync(temp)
	}
	if err == nil {
		err = os.Rename(temp, q.path)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(q.path))
	}
	if err != nil {
		return err
	}
	return q.open(false)
}

func initQuarantine(temp string, m *codec.FileMeta) error {
	db, err := bolt.Open(temp, 0o600, boltpage.Options(m.Size, false))
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{codec.MetaBucket, bucketState, bucketRejects} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		if err := tx.Bucket(codec.MetaBucket).Put(codec.MetaKey, m.Encode()); err != nil {
			return err
		}
		counts := quarantineCounts{next: 1}
		return counts.store(tx.Bucket(bucketState))
	})
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (q *quarantine) open(readOnly bool) error {
	_, err := os.Stat(q.path)
	if err == nil && !readOnly { // bbolt would die of a bad page
		err = boltpage.CheckPages(q.path)
	}
	if err != nil {
		return err
	}
	db, err := boltpage.OpenDB(q.path, q.size, readOnly)
	if err != nil {
		return err
	}
	db.AllocSize = 4 * boltpage.PageSize
	err = boltpage.Guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			if _, err := codec.DecodeFileMeta(boltpage.Value(tx, codec.MetaBucket, codec.MetaKey)); err != nil {
				return err
			}
			return q.load(tx.Bucket(bucketState))
		})
	})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	q.db = db
	return nil
}

func encodeReject(r *scan.Reject) []byte {
	e := codec.NewEncoder(32 + len(r.Topic) + len(r.Payload) + len(r.Code) + len(r.Reason))
	e.Text(r.Topic)
	e.Int(int64(r.Index))
	e.Text(r.Code)
	e.Text(codec.Cut(r.Reason, codec.MaxReason))
	e.Time(r.ReceivedAt)
	e.Text(string(r.Payload))
	return e.Begun()
}

func decodeReject(body []byte) (scan.Reject, error) {
	d := codec.NewDecoder(body)
	r := scan.Reject{Topic: d.Text(), Index: int(d.Int()), Code: d.Text(), Reason: d.Text(), ReceivedAt: d.Time()}
	r.Payload = []byte(d.Text())
	return r, d.Done()
}
