package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"scanrelay/configs/wait"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/index"
	"scanrelay/store/journal"
	"scanrelay/store/later"
	"scanrelay/store/quarantine"
)

// lockName is the file that one writer or many readers hold.
const lockName = "outbox.lock"

// Open opens the outbox in dir, which it makes if needed, and starts its
// committer. ErrInUse: another process has it. ErrNewer: a file in it was
// written by a newer scanrelay.
func Open(dir string, opts Options) (*Outbox, error) {
	o, err := openOutbox(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	if !o.journal.Writable() { // nothing is pushed whose outcome cannot be written
		o.becomeFull()
	}
	o.setStuck(false)
	go o.run()
	if err := o.revive(); err != nil { // they stay dead letters
		o.opts.Logger.Error("what could not be read before is not put back", "error", err)
	}
	return o, nil
}

func openOutbox(dir string, opts Options) (*Outbox, error) {
	if err := opts.fill(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// The lock itself may be one of them.
	moved, err := durable.FoldersAside(dir, isFile)
	for _, name := range moved {
		opts.Logger.Warn("a folder stood where the store has a file: it was moved aside", "as", name)
	}
	if err != nil {
		return nil, err
	}
	lock, err := durable.LockExclusive(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	o := newOutbox(dir, opts, lock)
	if err := o.start(); err != nil {
		if o.journal != nil {
			err = errors.Join(err, o.journal.Close())
		}
		lock.Release()
		return nil, err
	}
	return o, nil
}

// isFile reports whether a name in dir is that of a file of the store.
func isFile(name string) bool {
	stem, end, _ := strings.Cut(strings.TrimSuffix(name, durable.TempSuffix), ".")
	switch end {
	case "lock", "state", "checkpoint", "checkpoint.before", "key", "keys":
		return stem == "outbox"
	case "db", "register":
		return stem == "quarantine" || strings.HasPrefix(stem, "segment-") || strings.HasPrefix(stem, "spare-")
	}
	return false
}

// start brings everything into memory, in the order of need: the files, what
// they hold, then what has to be decided about them.
func (o *Outbox) start() (err error) {
	opts := o.opts.journal()
	opts.Thin = (&thinner{o: o}).thin
	if o.journal, err = journal.Open(o.dir, opts); err != nil {
		return err
	}
	o.index = index.New(o.journal, o.opts.windowSize, o.opts.Now)
	if err := o.journal.Load(o.index); err != nil {
		return err
	}
	o.opened = o.journal.NextSeq()
	if err := o.recallIdentities(); err != nil {
		return err
	}
	if err := o.recallLater(); err != nil {
		return err
	}
	var aside string
	if o.quarantine, aside, err = quarantine.Open(o.dir, o.opts.quarantine(), o.journal.Cipher(crypt.QuarantineKey)); err != nil {
		return err
	}
	var damage []string
	if aside != "" {
		damage = append(damage, "the quarantine was damaged; kept as "+aside)
	}
	if err := o.journal.Start(damage...); err != nil {
		return errors.Join(err, o.quarantine.Close())
	}
	o.spare.Store(o.journal.Spare(maxOpWeight))
	wait.Signal(o.arrived)
	return nil
}

// recallIdentities fills the duplicate memory with the latest identities, and learns
// who sent what of that is pending.
func (o *Outbox) recallIdentities() error {
	from := uint64(1)
	if n := uint64(o.opts.identities); o.opened > n {
		from = o.opened - n
	}
	o.index.RecallFrom(from)
	now := o.opts.Now()
	return o.journal.Identities(from, func(seq uint64, h *codec.Head) {
		o.dedupe.remember(h, now)
		o.index.Recall(seq, h.Client, h.Size)
	})
}

// recallLater finds again what was stored after dead letters that were put back.
func (o *Outbox) recallLater() error {
	after, err := later.Of(o.journal, o.index.Retried())
	for seq, t := range after {
		o.index.SetLater(seq, t)
	}
	return err
}
