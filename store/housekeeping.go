package store

import "time"

const (
	// watermarkLag and counterLag are how late the watermark and the counters
	// of what is not stored may be written when no commit comes along.
	watermarkLag = 5 * time.Second
	counterLag   = time.Second
	// fullRetry is how often a full outbox looks for room.
	fullRetry = time.Second
	// retireEvery is how often segments past retain are looked for.
	retireEvery = time.Minute
)

// housekeep does what is due without anybody asking for it, and returns how
// long nothing will be.
func (o *Outbox) housekeep() time.Duration {
	if o.Err() != nil {
		return retireEvery
	}
	now := time.Now()
	if o.lacksRoom() && !now.Before(o.nextRoom) {
		o.findRoom()
		o.nextRoom = now.Add(fullRetry)
	}
	if !now.Before(o.nextRetire) {
		o.retire()
		if err := o.journal.keys.Finish(); err != nil {
			o.fail(err)
		}
		o.nextRetire = now.Add(retireEvery)
	}
	if by := o.flushBy(); !by.IsZero() && !now.Before(by) {
		o.flush()
	}
	next := o.nextRetire
	if by := o.flushBy(); !by.IsZero() && by.Before(next) {
		next = by
	}
	if o.lacksRoom() && o.nextRoom.Before(next) {
		next = o.nextRoom
	}
	return max(next.Sub(now), time.Millisecond)
}

// flush writes the state by itself. Where there is no room for it, it has time.
func (o *Outbox) flush() {
	o.commit(nil)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.dirtyBy.IsZero() {
		o.dirtyBy = time.Now().Add(watermarkLag)
	}
}

// flushBy returns when the state has to be written; zero: it is.
func (o *Outbox) flushBy() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dirtyBy
}

// dirtyLocked has the state written within lag.
func (o *Outbox) dirtyLocked(lag time.Duration) {
	by := time.Now().Add(lag)
	if o.dirtyBy.IsZero() || by.Before(o.dirtyBy) {
		o.dirtyBy = by
		signal(o.queue.wake)
	}
}
