package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"scanrelay/configs/secret"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/values"
)

// Wrapped keys stand in the table meta, each under its number. Whoever needs one of this
// month puts it there before it encrypts with it, and takes all that stand there; whoever
// reads what another encrypted with a newer one does the same.

func entryName(number uint32) string { return fmt.Sprintf("%s%010d", metaKeys, number) }

// openKeys takes the keys of the database, or makes them.
func (s *Store) openKeys(ctx context.Context) error {
	masters, err := datakey.Masters(s.o.Key, "", false)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnfit, err)
	}
	s.masters, s.key = masters, s.o.Key // nobody else is there yet
	meta, err := s.meta(ctx)
	if err != nil {
		return err
	}
	if meta[entryName(0)] == nil {
		if err := s.makeKeys(ctx, meta[metaPhoneKey]); err != nil {
			return fmt.Errorf("make keys: %w", err)
		}
	}
	if err := s.loadKeys(ctx); err != nil {
		return err
	}
	s.phoneSecret = s.ring.Secret()
	if meta[metaPhoneKey] != nil { // of a schema before 3, in clear
		if _, err := s.pool.Exec(ctx, sqlDeleteMeta, metaPhoneKey); err != nil {
			return fmt.Errorf("forget the key in clear: %w", err)
		}
	}
	return nil
}

// UseKey takes other master keys while the store is in use, see Options.Key. They must open
// all data keys: else nothing is changed.
func (s *Store) UseKey(key secret.Text) error {
	ctx, cancel := context.WithTimeout(s.life, readLimit)
	defer cancel()
	if known, err := s.useKey(ctx, key); known || err != nil {
		return err
	}
	return s.present(ctx)
}

func (s *Store) useKey(ctx context.Context, key secret.Text) (known bool, err error) {
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	if key == s.key {
		return true, nil
	}
	masters, err := datakey.Masters(key, "", false)
	var entries []datakey.Entry
	if err == nil { // as they are wrapped there by now
		entries, err = s.readKeys(ctx)
	}
	if err = s.ring.Use(entries, masters, err); err == nil {
		s.masters, s.key = masters, key
	}
	return false, err
}

// makeKeys puts keys in a database that has none; secret is what phones are filed under,
// in one that has. A new one has nothing in clear.
func (s *Store) makeKeys(ctx context.Context, secret []byte) error {
	if secret == nil {
		secret = make([]byte, 32)
		_, _ = rand.Read(secret) // never returns an error
		if _, err := s.pool.Exec(ctx, sqlFirstMeta, metaEncrypted, []byte{1}); err != nil {
			return err
		}
	}
	ring := datakey.New()
	if err := ring.Begin(s.masters, secret, s.o.Now()); err != nil {
		return err
	}
	for _, e := range ring.Entries() {
		if err := s.putKey(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) putKey(ctx context.Context, e datakey.Entry) error {
	_, value := values.EncodeKey(e)
	_, err := s.pool.Exec(ctx, sqlFirstMeta, entryName(e.Number), value)
	return err
}

// putKeys puts the keys of this process, which go on to encrypt, into a database that it
// is connected to anew: what is written under one that is missing would be lost with the process.
func (s *Store) putKeys(ctx context.Context, conn *pgx.Conn) {
	if err := s.putAll(ctx, conn); err != nil {
		s.keysDue.Store(true) // as where it can only be read yet
		s.tell("the data keys could not be put into the database: nothing is encrypted before they are", err)
	}
}

func (s *Store) putAll(ctx context.Context, to interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}) error {
	var b pgx.Batch
	for _, e := range s.ring.Entries() {
		_, value := values.EncodeKey(e)
		b.Queue(sqlFirstMeta, entryName(e.Number), value)
	}
	return to.SendBatch(ctx, &b).Close()
}

// loadKeys takes all keys that stand in the database.
func (s *Store) loadKeys(ctx context.Context) error {
	entries, err := s.readKeys(ctx)
	if err != nil {
		return err
	}
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	if err := s.ring.Load(s.masters, entries); err != nil {
		return fmt.Errorf("%w: %w", errUnfit, err)
	}
	return nil
}

func (s *Store) readKeys(ctx context.Context) (entries []datakey.Entry, err error) {
	meta, err := s.meta(ctx)
	if err != nil {
		return nil, err
	}
	for name, value := range meta {
		text, ok := strings.CutPrefix(name, metaKeys)
		if !ok {
			continue
		}
		var number uint32
		if _, err := fmt.Sscan(text, &number); err != nil {
			return nil, fmt.Errorf("%w: the table meta has a row %q", errUnfit, name)
		}
		e, err := values.DecodeKey(datakey.EntryKey(number), value)
		if err != nil {
			return nil, fmt.Errorf("%w: key %d in the table meta is damaged: restore it from a backup of this database", errUnfit, number)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// newKey sees to it that there is a data key of this month, and that the database has
// those of this process, before anything is encrypted.
func (s *Store) newKey(ctx context.Context) error {
	if s.keysDue.CompareAndSwap(true, false) {
		if err := s.putAll(ctx, s.pool); err != nil {
			s.keysDue.Store(true)
			return fmt.Errorf("put the data keys into the database: %w", err)
		}
	}
	for {
		e, due := s.ring.Next(s.o.Now())
		if !due {
			return nil
		}
		err := s.putKey(ctx, e)
		if err == nil {
			err = s.loadKeys(ctx)
		}
		if err != nil {
			return fmt.Errorf("make the data key of this month: %w", err)
		}
	}
}

// goneFor is how long a key that was not there is not looked for again.
const goneFor = 10 * time.Second

// missedKey tells that what met an error for want of a key may be tried again: another
// process made the key, and it is there now; or it is known now that there is none, and
// what is wanted of the row goes on without, see unopened.
func (s *Store) missedKey(ctx context.Context, err error) bool {
	var unknown *datakey.UnknownError
	if !errors.As(err, &unknown) || s.isGone(unknown.Number) || s.loadKeys(ctx) != nil {
		return false
	}
	if !s.ring.Has(unknown.Number) {
		s.damaged("%v", unknown)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gone[unknown.Number] = s.o.Now()
	}
	return true
}

func (s *Store) isGone(number uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.gone[number]
	return ok && s.o.Now().Sub(at).Abs() < goneFor
}

// unopened tells that a row was not decrypted, and that nobody here can.
func (s *Store) unopened(err error) bool {
	var unknown *datakey.UnknownError
	return errors.Is(err, datakey.ErrKey) && (!errors.As(err, &unknown) || s.isGone(unknown.Number))
}
