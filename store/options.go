package store

import (
	"fmt"
	"log/slog"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/configs/wait"
	"scanrelay/store/format"
	"scanrelay/store/journal"
	"scanrelay/store/quarantine"
)

// Options of an outbox; every zero value has a default.
type Options struct {
	MaxSize         int64         // bytes of all segments together; 2 GiB
	Retain          time.Duration // finished events are kept this long; 168 h
	QuarantineSize  int64         // bytes of the quarantine's file; 64 MiB
	QuarantineCount int           // entries in quarantine; 10,000
	// MachineID names this machine. Where the store was made on another one,
	// a new epoch is taken (cloned card). "" is not compared.
	MachineID string
	Logger    *slog.Logger
	Now       func() time.Time
	// OnCommit hears of every commit: how long it took, and how many events
	// and outcomes it held. It must not block.
	OnCommit func(took time.Duration, records int)
	// Pulse is the committer's; nil: nobody looks at it.
	Pulse *wait.Pulse

	segmentSize int64                // tests only
	windowSize  int                  // tests only
	identities  int                  // that a start brings back; tests only
	batchDelay  time.Duration        // tests only
	idleDelay   time.Duration        // tests only
	commit      func(*bolt.Tx) error // tests only
}

const minMaxSize = 4 << 20

func (o *Options) fill() error {
	setDefault(&o.MaxSize, 2<<30)
	setDefault(&o.Retain, 168*time.Hour)
	setDefault(&o.QuarantineSize, 64<<20)
	setDefault(&o.QuarantineCount, 10000)
	setDefault(&o.segmentSize, format.SizeFor(o.MaxSize))
	setDefault(&o.identities, rememberIdentities)
	setDefault(&o.batchDelay, batchDelay)
	setDefault(&o.idleDelay, idleDelay)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnCommit == nil {
		o.OnCommit = func(time.Duration, int) {}
	}
	if o.commit == nil {
		o.commit = (*bolt.Tx).Commit
	}
	if o.MaxSize < minMaxSize {
		return fmt.Errorf("store.max_size is %d bytes: give it at least %d", o.MaxSize, minMaxSize)
	}
	return nil
}

func setDefault[T ~int | ~int64](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

func (o *Options) journal() journal.Options {
	return journal.Options{
		MaxSize: o.MaxSize, Retain: o.Retain, SegmentSize: o.segmentSize, MachineID: o.MachineID,
		Logger: o.Logger, Now: o.Now, Commit: o.commit,
	}
}

func (o *Options) quarantine() quarantine.Options {
	return quarantine.Options{Size: o.QuarantineSize, Count: o.QuarantineCount, Logger: o.Logger, Commit: o.commit}
}
