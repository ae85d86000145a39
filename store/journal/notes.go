package journal

import (
	"errors"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/handle"
)

// eachNote gives all notes in segment s and later ones to fn, in their order.
// Encrypted reasons stay so. One that is damaged is passed over, and told of at the
// end; the next start mends what can be mended.
func (j *Journal) eachNote(s *segment, fn func(in *segment, key uint64, n *event.Note)) (bad error) {
	for in := s; in != nil; in = j.after(in.number) {
		give := func(key uint64, n *event.Note) { fn(in, key, n) }
		for next, more := uint64(0), true; more; {
			var unread error
			err := j.handles.View(&in.File, func(tx boltpage.Reader) error {
				next, more, unread = format.Notes(tx, next, give)
				return nil
			})
			if errors.Is(err, handle.ErrGone) {
				break
			}
			if errors.Is(err, durable.ErrDamaged) {
				return j.metDamage(in, err)
			}
			if err != nil {
				return err
			}
			if unread != nil {
				bad = j.metDamage(in, unread)
			}
		}
	}
	return bad
}

// Copied is what was stored after a carried event in segments that are gone.
func (j *Journal) Copied(seq uint64) event.Later {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.carried[seq].later
}
