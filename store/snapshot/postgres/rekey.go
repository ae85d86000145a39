package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"scanrelay/configs/wait"
	"scanrelay/store/masterkey"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/values"
)

// Processes tell in the table lease, for five minutes each time, which master keys they know:
// the data keys may be wrapped only under one that all of them do.

// processPrefix, the process and the fingerprints of its master keys are the name of a row.
const processPrefix = "process/"

// presentEvery is how often a process says so.
const presentEvery = time.Minute

// present says which master keys this process knows.
func (s *Store) present(ctx context.Context) error {
	s.keysMu.Lock()
	masters := s.masters
	s.keysMu.Unlock()
	var b pgx.Batch
	name := processPrefix + s.holder
	for _, m := range masters {
		name += "/" + m.Fingerprint()
	}
	b.Queue(sqlLeaveOthers, s.holder, processPrefix, name)
	b.Queue(sqlLease, name, s.holder, leaseLife.Milliseconds())
	if err := send(ctx, s.pool, &b); err != nil {
		return fmt.Errorf("say which master keys are known: %w", err)
	}
	return nil
}

func (s *Store) presentLoop() {
	for wait.Sleep(s.life, presentEvery) {
		ctx, cancel := context.WithTimeout(s.life, readLimit)
		if err := s.present(ctx); err != nil && !away(err) {
			s.tell("say which master keys are known", err)
		}
		cancel()
	}
}

// Rekey wraps the data keys of a database under the first of these master keys, which
// together must open them, and returns how many it wrapped. It is refused while a process
// runs that does not know that key.
func Rekey(ctx context.Context, o Options, masters []masterkey.Key) (wrapped int, err error) {
	s, err := connect(ctx, o)
	if err != nil {
		return 0, err
	}
	defer s.disconnect()
	if at, err := s.version(ctx); err != nil {
		return 0, err
	} else if at < len(steps) {
		return 0, fmt.Errorf("%w: %w", errUnfit, behind(at))
	}
	for {
		if err := s.allKnow(ctx, masters[0].Fingerprint()); err != nil {
			return wrapped, err
		}
		entries, err := s.readKeys(ctx)
		if err != nil {
			return wrapped, err
		}
		anew, err := datakey.Rewrap(masters, entries)
		if err != nil || len(anew) == 0 {
			return wrapped, err
		}
		var b pgx.Batch
		for _, e := range anew {
			_, value := values.EncodeKey(e)
			b.Queue(sqlPutMeta, entryName(e.Number), value)
		}
		if err := send(ctx, s.pool, &b); err != nil {
			return wrapped, fmt.Errorf("write the data keys: %w", err)
		}
		wrapped += len(anew) // and look again: a process may have made one meanwhile
	}
}

func (s *Store) allKnow(ctx context.Context, fingerprint string) error {
	rows, err := s.pool.Query(ctx, sqlProcesses, processPrefix)
	if err != nil {
		return fmt.Errorf("read which processes run: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read which processes run: %w", err)
	}
	not := slices.DeleteFunc(names, func(name string) bool { return slices.Contains(strings.Split(name, "/")[2:], fingerprint) })
	if len(not) > 0 {
		return fmt.Errorf("%d processes of this centre do not know the new key: put it into store.key_file of each, beside the old one, and reload them; one that was killed counts for five minutes", len(not))
	}
	return nil
}
