package store

import (
	"context"
	"fmt"

	"scanrelay/store/event"
)

// changeOp writes notes, or something into the state, for a caller who waits.
type changeOp struct {
	notes   []event.Note
	set     func(g *group) // changes g.next, which is then written whole
	upTo    uint64         // where the watermark rises to with this
	then    func(g *group) // takes it into memory; mu is held
	revert  func()         // after a failure
	noHurry bool           // it may wait a little for company
	done    chan error     // cap 1
}

func (c *changeOp) intake() bool  { return false }
func (c *changeOp) patient() bool { return c.noHurry }

func (c *changeOp) weight() (n int) {
	for i := range c.notes {
		n += noteWeight(&c.notes[i])
	}
	return n
}

func (c *changeOp) stage(g *group) error {
	for _, n := range c.notes {
		g.addNote(n)
	}
	g.next.watermark = max(g.next.watermark, c.upTo)
	if c.set != nil {
		c.set(g)
		g.whole = true
	}
	return nil
}

func (c *changeOp) Apply(_ *Outbox, g *group) {
	if c.then != nil {
		c.then(g)
	}
}

func (c *changeOp) Finish(err error) {
	if err != nil && c.revert != nil {
		c.revert()
	}
	c.done <- err
}

// submit hands the change to the committer.
func (o *Outbox) submit(c *changeOp) error {
	c.done = make(chan error, 1)
	err := o.Err()
	if err == nil {
		err = o.queue.push(c)
	}
	if err != nil && c.revert != nil {
		c.revert()
	}
	return err
}

// change waits until the change is on disk. The committer answers everything
// it was given, so the wait ends with the process at the latest.
func (o *Outbox) change(c *changeOp) error {
	if err := o.submit(c); err != nil {
		return err
	}
	return <-c.done
}

// changeCtx is change that stops waiting, but not the change, when ctx ends.
func (o *Outbox) changeCtx(ctx context.Context, c *changeOp) error {
	if err := o.submit(c); err != nil {
		return err
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for commit: %w", ctx.Err())
	}
}
