package bolt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"

	"scanrelay/configs/wait"
	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot/boltfile"
)

// A store of a format before 4 has in clear what is personal. Behind the running centre
// it is encrypted in steps of Forget, after a merge of all that was in the log; log.db
// begins anew meanwhile.

// Bounds of one step: keys that are looked at, pages that are overwritten.
const (
	encryptKeys  = 2000
	encryptPages = 32 << 10
)

// newClearing is what encrypts this store.
func (s *Store) newClearing() boltfile.Clearing {
	return boltfile.Clearing{
		Path: filepath.Join(s.dir, waybillsName), Keys: s.ring, MaxKeys: s.o.encryptKeys, MaxPages: s.o.encryptPages,
		Read: func(ctx context.Context, fn func(r *boltpage.Finder) error) error {
			_, err := readBy(ctx, s, readFile, func(r *boltpage.Finder) (none struct{}, _ error) { return none, fn(r) })
			return err
		},
		Update: func(fn func(tx *bbolt.Tx) error) error {
			if err := s.update(fn); err != nil {
				return s.writeFailed(err)
			}
			return nil
		},
		Pending: func() int { return s.file.db.Stats().PendingPageN },
	}
}

// encrypt takes the next step. Where there is none for now, as reads go on or there is no
// room, the round goes on without. The caller holds mergeMu.
func (s *Store) encrypt(ctx context.Context) (waits bool, err error) {
	done := false
	if err = s.ready(); err == nil {
		switch {
		case !s.clearing.Encrypted:
			err = s.clearing.Encrypt(ctx)
		case s.logClear.Load():
			wait.Signal(s.renew)
			waits = true
		default:
			done, waits, err = s.clearing.Overwrite()
		}
	}
	switch {
	case errors.Is(err, boltfile.ErrSync):
		return false, s.fail(err)
	case refused(err):
		s.tell(&s.unencrypted, "encrypt what is in clear: trying again", err)
		waits, err = true, nil
	case err != nil:
		return false, fmt.Errorf("encrypt what is in clear: %w", s.suspect(err))
	case done:
		s.isClear = false
		s.o.Logger.Info("all that is personal in the store is encrypted now, and nothing of it is left in clear in its files")
	}
	s.encryptWaits = waits
	return waits, nil
}
