package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/wait"
	"scanrelay/store/masterkey"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/queue"
)

// Options of a [Store].
type Options struct {
	DSN      string           // URL or key=value; several hosts as libpq writes them
	MaxConns int              // connections at once; 0: 16
	Key      secret.Text      // master keys: 64 hex digits each, the first to wrap with; "": systemd's credential
	Migrate  bool             // bring the schema up to date at a start; else refuse an old one
	Logger   *slog.Logger     // nil: logs nothing
	Now      func() time.Time // nil: time.Now

	// Of tests: who dials in place of the network, and who is told of each call.
	dial   pgconn.DialFunc
	tracer pgx.QueryTracer
}

func (o *Options) defaults() {
	if o.MaxConns <= 0 {
		o.MaxConns = 16
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Store is a [snapshot.Store] that several processes may have open at once.
type Store struct {
	o           Options
	pool        *pgxpool.Pool
	lookups     *pgxpool.Pool // of nobody but WeChat
	id          string
	damage      snapshot.Damage
	phoneSecret []byte
	ring        *datakey.Ring
	keysDue     atomic.Bool     // keys of the ring may be missing in the database
	otherSchema atomic.Bool     // it may be another than this one's
	keysMu      sync.Mutex      // of who changes the ring's master keys
	masters     []masterkey.Key // guarded by keysMu
	key         secret.Text     // of which they are; guarded by keysMu
	holder      string          // this process, in leases
	cache       *cache
	telling     wait.Rarely   // lines about a database that is away
	places      chan struct{} // of those that are no lookups, see within

	// life ends with ErrClosed as its cause.
	life   context.Context
	end    context.CancelCauseFunc
	loops  sync.WaitGroup
	queue  *queue.Queue
	untold []scan.WaybillID           // only the committer's, see settle
	heard  map[scan.DepotID]time.Time // only the committer's: last events of depots whose word was judged, see hear

	round   round // guarded by roundMu
	clear   bool  // there may be rows in clear; guarded by roundMu
	roundMu sync.Mutex

	closeOnce sync.Once
	missing   atomic.Pointer[judge.Period]
	mu        sync.Mutex
	gone      map[uint32]time.Time // data keys that are in no row, and since when; guarded by mu
	held      string               // guarded by mu: see snapshot.Stats
	blocked   string               // guarded by mu: see snapshot.Stats
	sizesMu   sync.Mutex
	sizes     sizes // guarded by sizesMu
}

var _ snapshot.Store = (*Store)(nil)

// Open opens the store, and makes its tables where they are missing and o.Migrate
// is set. A database that is away is waited for until ctx ends; what it refuses for
// good is an error. The caller must Close it.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := s.await(ctx, s.begin); err != nil {
		s.disconnect()
		return nil, err
	}
	s.loops.Go(s.commitLoop)
	s.loops.Go(s.presentLoop)
	return s, nil
}

// connect waits until the database serves.
func connect(ctx context.Context, o Options) (*Store, error) {
	o.defaults()
	conf, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		return nil, fmt.Errorf("read dsn: %w", err)
	}
	conf.MaxConns = int32(o.MaxConns - o.MaxConns/2)
	conf.ConnConfig.RuntimeParams["application_name"] = "scanrelay"
	if conf.ConnConfig.ConnectTimeout == 0 {
		conf.ConnConfig.ConnectTimeout = dialLimit
	}
	if conf.ConnConfig.ValidateConnect == nil { // of several hosts, the one that can be written to
		conf.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if conf.ConnConfig.Tracer = o.tracer; o.dial != nil {
		conf.ConnConfig.DialFunc = o.dial
	}
	s := &Store{
		o: o, ring: datakey.New(), holder: rand.Text(), cache: newCache(o.Now), telling: wait.Rarely{Every: time.Minute},
		heard: map[scan.DepotID]time.Time{}, gone: map[uint32]time.Time{},
	}
	s.places = make(chan struct{}, max(1, conf.MaxConns-1))
	s.life, s.end = context.WithCancelCause(context.Background())
	s.queue = queue.New(s.life, groupEvents)
	conf.AfterConnect = s.connected
	if s.pool, err = pgxpool.NewWithConfig(ctx, conf); err != nil {
		return nil, fmt.Errorf("read dsn: %w", err)
	}
	conf = conf.Copy()
	conf.MaxConns = int32(o.MaxConns / 2)
	if s.lookups, err = pgxpool.NewWithConfig(ctx, conf); err != nil {
		s.pool.Close()
		return nil, fmt.Errorf("read dsn: %w", err)
	}
	if err := s.await(ctx, s.pool.Ping); err != nil {
		s.disconnect()
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return s, nil
}

// await does what begins a process, again while the database is away.
func (s *Store) await(ctx context.Context, do func(ctx context.Context) error) error {
	pace := wait.Pace(100*time.Millisecond, 5*time.Second)
	for {
		err := do(ctx)
		if !away(err) || ctx.Err() != nil {
			return err
		}
		s.tell("the database cannot be reached: waiting for it", err)
		wait.Sleep(ctx, pace.NextBackOff())
	}
}

// dialLimit is how long a host may take to answer a connection, where the DSN does
// not say.
const dialLimit = 3 * time.Second

// tell logs now and then what fails again and again.
func (s *Store) tell(what string, err error) {
	if more, due := s.telling.Due(s.o.Now()); due {
		s.o.Logger.Error(what, "error", err, "failed_since_last_line", more)
	}
}

// begin reads what the process keeps of the database.
func (s *Store) begin(ctx context.Context) error {
	at, err := s.version(ctx)
	switch {
	case err != nil:
		return err
	case at < len(steps) && !s.o.Migrate:
		return fmt.Errorf("%w: %w", errUnfit, behind(at))
	case at < len(steps):
		if _, err := s.migrate(ctx, func(step string) { s.o.Logger.Info(step) }); err != nil {
			return err
		}
	}
	var commits string
	if err := s.pool.QueryRow(ctx, sqlCommits).Scan(&commits); err != nil {
		return fmt.Errorf("read synchronous_commit: %w", err)
	}
	if commits == commitsOff {
		return fmt.Errorf("%w: %w", errUnfit, errCommits)
	}
	meta, err := s.meta(ctx)
	if err != nil {
		return err
	}
	if s.id = string(meta[metaStoreID]); s.id == "" {
		return fmt.Errorf("%w: the table meta has no store id: restore it from a backup of this database", errUnfit)
	}
	if err := s.openKeys(ctx); err != nil {
		return err
	}
	s.clear = true // else who forgets first finds that there are none
	s.wasRestored(lostIn(meta).Missing)
	return s.present(ctx)
}

// meta reads what belongs to all.
func (s *Store) meta(ctx context.Context) (map[string][]byte, error) {
	rows, err := s.pool.Query(ctx, sqlMeta)
	if err != nil {
		return nil, fmt.Errorf("read meta: %w", err)
	}
	all := map[string][]byte{}
	var name string
	var value []byte
	for rows.Next() {
		if err := rows.Scan(&name, &value); err != nil {
			break
		}
		all[name] = slices.Clone(value)
	}
	if rows.Close(); rows.Err() != nil {
		return nil, fmt.Errorf("read meta: %w", rows.Err())
	}
	return all, nil
}

// usable is nil until the store was closed: a database that is away comes back.
func (s *Store) usable() error { return context.Cause(s.life) }

// Health implements [snapshot.Store].
func (s *Store) Health(context.Context) error { return s.usable() }

// Wait implements [snapshot.Store].
func (s *Store) Wait(ctx context.Context) error {
	select {
	case <-s.life.Done():
		return s.usable()
	case <-ctx.Done():
		return nil
	}
}

// ID implements [snapshot.Store].
func (s *Store) ID(context.Context) (string, error) { return s.id, nil }

// sizes are what the database last said of its tables.
type sizes struct {
	waybills, bytes int64
	at              time.Time // it was asked, perhaps in vain
}

// sizesEvery is how often it is asked.
const sizesEvery = 10 * time.Second

// Stats implements [snapshot.Store].
func (s *Store) Stats(ctx context.Context) (snapshot.Stats, error) {
	size := s.size(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	st := snapshot.Stats{Waybills: uint64(size.waybills), FileBytes: size.bytes, Damage: s.damage.List(), Held: s.held, Blocked: s.blocked}
	if m := s.missing.Load(); m != nil {
		st.Missing = time.Duration(m.To-m.From) * time.Second
	}
	return st, nil
}

// size asks the database, in time with whatever answer; nobody waits for who asks.
func (s *Store) size(ctx context.Context) sizes {
	now := s.o.Now()
	s.sizesMu.Lock()
	last := s.sizes
	due := last.at.IsZero() || now.Sub(last.at) >= sizesEvery
	if due {
		s.sizes.at = now
	}
	s.sizesMu.Unlock()
	if !due {
		return last
	}
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	next := sizes{at: now}
	if err := s.pool.QueryRow(ctx, sqlSizes).Scan(&next.waybills, &next.bytes); err != nil {
		return last
	}
	s.sizesMu.Lock()
	defer s.sizesMu.Unlock()
	s.sizes = next
	return next
}

// damaged notes what was found broken, once.
func (s *Store) damaged(format string, args ...any) { s.damage.Note(s.o.Logger, format, args...) }

// Close implements [snapshot.Store].
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.end(snapshot.ErrClosed)
		s.loops.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), readLimit)
		defer cancel()
		_, err := s.pool.Exec(ctx, sqlLeave, s.holder) // else the lease ends by itself
		if err != nil && !away(err) && !strings.Contains(err.Error(), "closed pool") {
			s.o.Logger.Warn("leave the lease of forgetting", "error", err)
		}
		s.disconnect()
	})
	return nil
}

func (s *Store) disconnect() {
	s.lookups.Close()
	s.pool.Close()
}
