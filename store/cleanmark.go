package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"scanrelay/store/codec"
	"scanrelay/store/durable"
)

// The mark of a clean stop holds what else would be forgotten by it: which events
// wait for waybill data, as runs of numbers. After an unclean stop they are
// to_push again, and the centre is asked about each.

var keyWaiting = []byte("waiting")

// markClean says that everything was closed. It is the last thing of a process.
func (o *Outbox) markClean() error {
	path := filepath.Join(o.dir, cleanName)
	var runs []byte
	o.locked(func(x *index) { runs = encodeWaiting(&x.all) })
	err := durable.Create(path, runs)
	if durable.NoSpace(err) {
		err = durable.Create(path, nil)
	}
	return err
}

// wasClean reports whether the last process closed the outbox, and takes the
// mark away that says so. waiting is what it says.
func (o *Outbox) wasClean() (clean bool, waiting []byte, err error) {
	path := filepath.Join(o.dir, cleanName)
	waiting, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil, nil
	}
	if o.readOnly {
		return err == nil, waiting, err
	}
	if err = os.Remove(path); err == nil { // a mark that cannot be read is one, too
		err = durable.SyncDir(o.dir)
	}
	if err != nil {
		return false, nil, fmt.Errorf("take mark away: %w", err)
	}
	return true, waiting, nil
}

func encodeWaiting(l *census) []byte {
	if l.count[setWaiting] == 0 {
		return nil
	}
	e := codec.NewEncoder(64)
	end := uint64(0) // of the run before
	for seq, ok := l.next(anyWaiting, 0); ok; {
		last, more := seq, true
		for more {
			if more = l.has(setWaiting, last+1); more {
				last++
			}
		}
		e.Uint(seq - end)
		e.Uint(last + 1 - seq)
		end = last + 1
		seq, ok = l.next(anyWaiting, end)
	}
	return e.Frame(keyWaiting)
}

// waitAgain lets events wait as a mark says, as far as they are still pending
// and synced. A damaged mark says nothing.
func (x *index) waitAgain(mark []byte) {
	d, err := codec.Decode(keyWaiting, mark)
	if err != nil {
		return
	}
	for seq := uint64(0); d.More(); {
		seq += d.Uint()
		n := d.Uint()
		for end := min(seq+n, x.watermark+1); seq < end; seq++ {
			if x.all.has(setPending, seq) {
				x.all.add(setWaiting, seq)
			}
		}
		if seq > x.watermark {
			return
		}
	}
}
