package checkpoint

import "scanrelay/store/format"

// Weights reckon what the events of a segment take, in bytes, about.
type Weights struct {
	events, deaths                    int64
	eventBytes, deathBytes, noteBytes int64
}

// Took takes an event into account that was put into the segment.
func (w *Weights) Took(bytes int) {
	w.events++
	w.eventBytes += int64(bytes)
}

// Died takes into account the note that goes along with one of its dead letters.
func (w *Weights) Died(bytes int) {
	w.deaths++
	w.deathBytes += int64(bytes)
}

// Noted takes one of its notes into account.
func (w *Weights) Noted(bytes int) { w.noteBytes += int64(bytes + format.RecordOverhead) }

// Estimate reckons how large own events are, of which it is not known: they take
// what is left of what is used beside notes and those that are known.
func (w *Weights) Estimate(own int, used int64, notes uint64) {
	left := max(0, used-w.eventBytes-w.noteBytes)
	if uint64(own)*16 < notes { // hardly anything is theirs
		left = min(left, int64(own)*512)
	}
	w.events += int64(own)
	w.eventBytes += left
}

// Event is what one of its events takes, Dead what one of its dead letters does,
// with the note.
func (w *Weights) Event() int64 { return w.eventBytes / max(1, w.events) }

// Dead is said at Event.
func (w *Weights) Dead() int64 { return w.Event() + w.deathBytes/max(1, w.deaths) }

func (w *Weights) fields() []*int64 {
	return []*int64{&w.events, &w.deaths, &w.eventBytes, &w.deathBytes, &w.noteBytes}
}
