package store

import (
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/format"
	"scanrelay/store/journal"
)

// group is what one commit writes: the ops of everybody who waited, merged.
type group struct {
	*journal.Batch
	c       *committer
	now     time.Time
	rejects []scan.Reject
	counted bool // something was counted that is not stored

	// What memory was told and must unlearn if the commit fails.
	tried      []uint64 // whose attempts are written along with it
	identities []identity
	weak       []weakUndo
}

// weakUndo is a weak key, and when it was stored before.
type weakUndo struct {
	key scan.WeakKey
	was time.Time
}

func (c *committer) newGroup(inside bool) *group {
	g := &group{Batch: c.o.journal.NewBatch(), c: c, now: c.opts.Now()}
	g.Inside = inside
	if c.room.open() {
		for _, n := range c.o.index.TakeUnsaved(c.groupLimit()/2, format.NoteWeight) {
			g.tried = append(g.tried, n.Seq)
			g.AddNote(n)
		}
	}
	return g
}

// count counts what is not stored.
func (g *group) count(duplicate, ignored int) {
	g.State.Duplicate += uint64(duplicate)
	g.State.Ignored += uint64(ignored)
	g.counted = g.counted || duplicate > 0 || ignored > 0
}

// store makes the group durable: rejects first, then the segment, which must
// have room before. flush: the state is written even if nothing else has to be.
func (g *group) store(flush bool) error {
	if g.Empty() && !flush {
		return g.keepRejects()
	}
	return g.c.o.journal.Commit(g.Batch, g.keepRejects)
}

func (g *group) keepRejects() error {
	err := g.c.o.quarantine.Add(g.rejects)
	if err == nil {
		g.rejects = nil // kept now, whatever becomes of the rest
	}
	return err
}

// undo takes back what staging did in memory.
func (g *group) undo() {
	g.c.o.index.Unsave(g.tried)
	for _, id := range g.identities {
		g.c.dedupe.forget(id)
	}
	for _, w := range slices.Backward(g.weak) {
		g.c.dedupe.undoWeak(w.key, w.was)
	}
}
