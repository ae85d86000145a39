package store

import (
	"context"
	"fmt"

	"scanrelay/store/event"
	"scanrelay/store/format"
)

// stepNotes bounds the notes in one change: inside the reserve they have to fit
// into what is left at the end of a segment.
const stepNotes = 500

// changeOp writes notes, or something into the state, for a caller who waits.
type changeOp struct {
	notes  []event.Note
	set    func(g *group) // changes g.State, which is then written whole
	upTo   uint64         // where the watermark rises to with this
	then   func()         // takes it into memory; committer.mu is held
	revert func()         // after a failure
	spend  bool           // it may be refused for lack of room
	delay  bool           // it may wait a little for company
	done   chan error     // cap 1
}

func (c *changeOp) spends() bool { return c.spend }
func (c *changeOp) patience() patience {
	if c.delay {
		return patient
	}
	return urgent
}

func (c *changeOp) weight() (n int) {
	for i := range c.notes {
		n += format.NoteWeight(&c.notes[i])
	}
	return n
}

func (c *changeOp) stage(g *group) error {
	for _, n := range c.notes {
		g.AddNote(n)
	}
	g.State.Watermark = max(g.State.Watermark, c.upTo)
	if c.set != nil {
		c.set(g)
		g.Whole = true
	}
	return nil
}

func (c *changeOp) apply(*group) {
	if c.then != nil {
		c.then()
	}
}

func (c *changeOp) finish(err error) {
	if err != nil && c.revert != nil {
		c.revert()
	}
	c.done <- err
}

// submit hands a change to the committer.
func (c *committer) submit(op *changeOp) error {
	op.done = make(chan error, 1)
	err := c.Err()
	if err == nil {
		err = c.queue.push(op)
	}
	if err != nil && op.revert != nil {
		op.revert()
	}
	return err
}

// change waits until a change is on disk. When ctx ends first, only the waiting
// ends. The committer answers everything it was given.
func (c *committer) change(ctx context.Context, op *changeOp) error {
	if err := c.submit(op); err != nil {
		return err
	}
	select {
	case err := <-op.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for commit: %w", ctx.Err())
	}
}
