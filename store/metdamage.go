package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"scanrelay/store/durable"
)

// metDamage raises the alarm for events that a lease could not read, and notes
// their segments: the next start reads these completely, and rebuilds them of
// what can be read. Until then the events are dead letters.
func (o *Outbox) metDamage(seqs []uint64) error {
	o.opts.Logger.Error("events cannot be read from disk and are dead letters; a restart mends what can be mended", "seqs", seqs)
	known, err := o.unreadableSegments()
	if err != nil {
		return err
	}
	var names []string
	for _, seq := range seqs {
		if s := o.journal.find(seq); s != nil {
			names = append(names, filepath.Base(s.path))
		}
	}
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(n string) bool { return slices.Contains(known, n) })
	if len(names) == 0 {
		return nil
	}
	all := strings.Join(append(known, names...), "\n") + "\n"
	if err := durable.Create(filepath.Join(o.dir, unreadableName), []byte(all)); err != nil && !durable.NoSpace(err) {
		return fmt.Errorf("note damage: %w", err)
	}
	what := strings.Join(names, ", ") + " holds events that cannot be read; a restart mends what can be mended"
	return o.submit(&changeOp{set: func(g *group) { g.next.damage = joinDamage(g.next.damage, []string{what}) }})
}

// unreadableSegments lists the files in which damage was met.
func (o *Outbox) unreadableSegments() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(o.dir, unreadableName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read note of damage: %w", err)
	}
	return strings.Fields(string(b)), nil
}

// checkUnreadable rebuilds segments in which damage was met, before they are
// loaded.
func (o *Outbox) checkUnreadable() error {
	names, err := o.unreadableSegments()
	if err != nil {
		return err
	}
	for _, s := range o.journal.list() {
		if s.rebuilt || !slices.Contains(names, filepath.Base(s.path)) {
			continue
		}
		if bad := o.checkSegment(s); bad != nil {
			if err := o.rebuildLoaded(s, bad); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgetUnreadable takes the note away once what it names was looked at.
func (o *Outbox) forgetUnreadable() error {
	err := os.Remove(filepath.Join(o.dir, unreadableName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take note of damage away: %w", err)
	}
	return nil
}
