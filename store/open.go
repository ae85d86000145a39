package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
)

// Open opens the outbox in dir, which it makes if needed, and starts its
// committer. ErrInUse: another process has it. ErrNewer: a file in it was
// written by a newer scanrelay.
func Open(dir string, opts Options) (*Outbox, error) {
	if err := opts.fill(); err != nil {
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	lock, err := durable.LockExclusive(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	o := newOutbox(dir, opts)
	o.lock = lock
	if err := o.start(); err != nil {
		o.background.Wait()
		err = errors.Join(err, o.journal.close())
		lock.Release()
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	o.background.Go(o.completeRegisters)
	go o.run()
	return o, nil
}

func newOutbox(dir string, opts Options) *Outbox {
	o := &Outbox{
		opts: opts, dir: dir, journal: newJournal(dir), dedupe: newDedupe(), index: newIndex(opts.windowSize),
		queue:   &queue{wake: make(chan struct{}, 1)},
		claimed: map[uint64]struct{}{},
		failed:  make(chan struct{}), arrived: make(chan struct{}, 1), pushable: make(chan struct{}, 1),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	o.room = newRoomGate(o.queue.busy)
	o.queue.onRoom = o.room.update
	return o
}

// start brings everything into memory, in the order of need: the files, what
// they hold, then what has to be decided about them.
func (o *Outbox) start() error {
	if err := durable.RemoveTemps(o.dir); err != nil {
		return err
	}
	if err := o.openSegments(); err != nil {
		return err
	}
	clean, waiting, err := o.wasClean()
	if err != nil {
		return err
	}
	o.waiting = waiting
	doubt, err := o.openNewest(clean)
	if err != nil {
		return err
	}
	if err := o.loadRebuilding(); err != nil {
		return err
	}
	if err := o.openQuarantine(); err != nil {
		return err
	}
	if err := o.settleEpoch(doubt); err != nil {
		return errors.Join(err, o.quarantine.Close())
	}
	if err := o.forgetUnreadable(); err != nil {
		return errors.Join(err, o.quarantine.Close())
	}
	signal(o.arrived)
	signal(o.pushable)
	return nil
}

// loadAll rebuilds what is in memory from the segments.
func (o *Outbox) loadAll() error {
	o.index.now = o.opts.Now()
	o.index.watermark = o.state.watermark
	if err := o.load(); err != nil {
		return err
	}
	newest := o.journal.newest()
	o.state.nextSeq = max(o.state.nextSeq, newest.last+1, 1)
	o.opened = o.state.nextSeq
	o.index.waitAgain(o.waiting)
	if err := o.openRegisters(); err != nil {
		return err
	}
	if err := o.fillYoung(); err != nil {
		return err
	}
	if err := o.recall(); err != nil {
		return err
	}
	return o.recallLater()
}

// openSegments reads the head of every segment and the state of the newest.
// Those whose totals are already in the state are unlinked.
func (o *Outbox) openSegments() error {
	numbers, err := listSegments(o.dir)
	if err != nil {
		return err
	}
	if crypt.Exists(o.dir) {
		if o.journal.keys, err = crypt.Open(o.dir, false, false); err != nil {
			return err
		}
	}
	fresh := true
	for _, n := range numbers {
		s := &segment{number: n, path: filepath.Join(o.dir, segmentName(n)), sealed: true}
		st, err := o.openSegment(s)
		if err != nil && !setAside(err) {
			return fmt.Errorf("segment %d: %w", n, err)
		} else if err != nil {
			if st, err = o.rebuildUnread(s, err); err != nil {
				return err
			}
			fresh = false
			if st == nil {
				continue
			}
		}
		fresh = fresh && s.format == 1
		o.journal.append(s)
		o.state = *st
	}
	o.forgetDamage()
	if err := o.openKeys(false, fresh); err != nil {
		return err
	}
	if len(o.journal.segments) == 0 {
		return o.firstSegment()
	}
	if err := o.dropCounted(); err != nil {
		return err
	}
	return o.forgetKeys()
}

// openKeys gives each segment its key. One that has none although the keys are
// whole is a matter for a person: nothing is changed.
func (o *Outbox) openKeys(readOnly, fresh bool) (err error) {
	if o.journal.keys == nil {
		if o.journal.keys, err = crypt.Open(o.dir, readOnly, fresh); err != nil {
			return err
		}
	}
	if w := o.journal.keys.Warning(); w != "" {
		o.opts.Logger.Warn("store's key", "what", w)
	}
	for _, s := range o.journal.segments {
		s.cipher = o.journal.keys.Cipher(s.number)
		if s.cipher == nil && s.format > 1 && s.number > o.state.dropped && o.journal.keys.Whole() {
			return fmt.Errorf("%w: %s is older than %s: put the newer one back", crypt.ErrKey, crypt.FileName, filepath.Base(s.path))
		}
	}
	return nil
}

// forgetKeys destroys the keys of segments that are gone. What was set aside
// keeps its key until a person removes it.
func (o *Outbox) forgetKeys() error {
	return o.journal.keys.Keep(func(number uint64) bool {
		kept, err := filepath.Glob(filepath.Join(o.dir, segmentName(number)+"*"))
		return err != nil || len(kept) > 0
	})
}

func (o *Outbox) firstSegment() error {
	o.state = state{nextSeq: 1, machine: o.opts.MachineID}
	o.state.relabel(1, randomEpoch())
	m := codec.FileMeta{Format: codec.Version, Number: o.lastAside + 1, First: 1, Size: o.opts.segmentSize, Begun: o.opts.Now()}
	key, err := o.journal.keys.Add(m.Number)
	if err != nil {
		return err
	}
	size, err := createSegment(o.dir, m, &o.state)
	if err != nil {
		return err
	}
	path := filepath.Join(o.dir, segmentName(m.Number))
	o.journal.append(&segment{number: m.Number, path: path, first: 1, format: codec.Version, cipher: key, size: size, begun: m.Begun, sealed: true})
	return nil
}

func (o *Outbox) openSegment(s *segment) (st *state, err error) {
	if info, err := os.Stat(s.path); err == nil {
		s.size = info.Size()
	}
	err = o.journal.view(s, func(tx *bolt.Tx) error {
		m, err := codec.DecodeFileMeta(boltpage.Value(tx, codec.MetaBucket, codec.MetaKey))
		if err != nil {
			return err
		}
		s.first, s.last, s.size, s.begun, s.format = m.First, m.First-1, m.Size, m.Begun, m.Format
		if st, err = loadState(tx.Bucket(bucketState)); err != nil {
			return err
		}
		return checkNumbers(tx, m.First, st.nextSeq)
	})
	return st, err
}

// checkNumbers finds numbers that cannot be: what is in memory is laid out by
// them, and one of no sense would take all of it.
func checkNumbers(tx *bolt.Tx, first, next uint64) error {
	if k, _ := tx.Bucket(bucketEvents).Cursor().Last(); k != nil && codec.Seq(k) >= next {
		return fmt.Errorf("%w: event %d is beyond the last, %d", ErrDamaged, codec.Seq(k), next-1)
	}
	c := tx.Bucket(bucketCarried).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if seq := codec.Seq(k); seq == 0 || seq >= first {
			return fmt.Errorf("%w: event %d is carried into a segment that begins at %d", ErrDamaged, seq, first)
		}
	}
	return nil
}

// setAside tells whether an error means that the file is damaged, and not that
// it is newer, held or out of reach.
func setAside(err error) bool {
	for _, damage := range []error{ErrDamaged, bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch} {
		if errors.Is(err, damage) {
			return true
		}
	}
	var path *fs.PathError
	return !errors.As(err, &path) && strings.Contains(err.Error(), "file size too small")
}

// dropCounted unlinks segments that a crash kept from being unlinked.
func (o *Outbox) dropCounted() error {
	for {
		s := o.journal.oldest()
		if s.number > o.state.dropped || s == o.journal.newest() {
			return nil
		}
		if err := o.journal.drop(s); err != nil {
			return err
		}
	}
}

// openNewest opens the newest segment for writing, unless a sync of it failed
// or it had to be rebuilt: then it is only read and another one is begun. It is
// checked before bbolt, which would die of a bad page, looks for free ones in
// it. doubt says why what central knows of this store cannot be taken for
// granted; "" if it can.
func (o *Outbox) openNewest(clean bool) (doubt string, err error) {
	s := o.journal.newest()
	whole, err := boltpage.MetaPagesWhole(s.path)
	if err != nil {
		return "", err
	}
	if !whole {
		doubt = "the last transaction of the newest segment is gone"
	}
	mark, err := os.ReadFile(filepath.Join(o.dir, suspectName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read mark: %w", err)
	}
	suspect := err == nil && strings.TrimSpace(string(mark)) == filepath.Base(s.path)
	if bad := o.checkNewest(s, !clean || suspect); bad != nil {
		if err := o.rebuild(s, bad); err != nil {
			return "", err
		}
	}
	if !suspect && !s.rebuilt && s.number >= o.lastAside && s.format == codec.Version && s.cipher != nil {
		err := o.journal.reopenForWriting(s)
		if err == nil || !setAside(err) {
			return doubt, err
		}
		if err := o.rebuild(s, err); err != nil {
			return "", err
		}
	}
	o.rollFirst = true
	return doubt, nil
}

// checkNewest says what is wrong with the newest segment: after a clean stop of
// its pages, else of its records, too.
func (o *Outbox) checkNewest(s *segment, thorough bool) (bad error) {
	if !s.rebuilt && s.format == codec.Version {
		bad = s.checkOutline(o.state.nextSeq)
	}
	if bad == nil && thorough {
		bad = o.checkSegment(s)
	}
	return bad
}

// settleEpoch begins a segment or an epoch where this start calls for it.
func (o *Outbox) settleEpoch(doubt string) error {
	newest := o.journal.newest()
	if o.rollFirst {
		o.opts.Logger.Warn("newest segment is only read from now on", "file", filepath.Base(newest.path))
		if err := o.begins(o.opts.segmentSize); err != nil {
			return err
		}
	}
	if newest.rebuilt {
		doubt = "the newest segment was damaged"
	}
	if o.lastAside > 0 && o.lastAside > newest.number {
		doubt = "the newest segment could not be read"
	}
	if id := o.opts.MachineID; id != "" && id != o.state.machine {
		if o.state.machine != "" {
			doubt = "the store was made on another machine"
		}
		o.state.machine = id
	}
	if doubt == "" && len(o.damage) == 0 {
		return nil
	}
	st := o.currentState()
	if len(o.damage) > 0 {
		st.damage = joinDamage(st.damage, o.damage)
	}
	if doubt != "" {
		st.relabel(st.watermark+1, randomEpoch())
	}
	if err := o.writeState(st, &cargo{}); err != nil {
		return fmt.Errorf("take new epoch: %w", err)
	}
	o.state = *st
	if doubt == "" {
		return nil
	}
	o.opts.Logger.Warn("new epoch taken", "why", doubt, "epoch", fmt.Sprintf("%016x", o.state.epochOf(o.state.nextSeq)))
	return nil
}
