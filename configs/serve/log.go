package serve

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// logRoom bounds what waits for a slow reader of the log, twice: what waits, and
// what is being written.
const logRoom = 256 << 10

// Log is where a role's log goes: no writer waits for who reads it. What finds no
// room, or nobody who takes it, is dropped and counted.
type Log struct {
	w      io.Writer
	direct sync.Mutex // held by a write that is not detached

	mu       sync.Mutex // guards what follows
	detached bool
	notice   func(lines uint64)
	waiting  []byte
	idle     chan struct{} // closed once all is written; nil: it is
	dropped  uint64        // lines
	told     uint64        // of them
	taken    bool          // the latest write was
	keep     int           // how many of the latest lines are kept
	recent   [][]byte      // those, at most recentRoom
	size     int           // of recent
}

// recentRoom bounds the lines that are kept.
const recentRoom = 512 << 10

// Keep has the latest lines kept for Recent.
func (l *Log) Keep(lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keep = lines
}

// Recent is the latest lines, whoever reads the log or does not.
func (l *Log) Recent() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Join(l.recent, nil)
}

// remember keeps what was written. The caller holds mu.
func (l *Log) remember(p []byte) {
	if l.keep == 0 {
		return
	}
	l.recent, l.size = append(l.recent, bytes.Clone(p)), l.size+len(p)
	for len(l.recent) > l.keep || l.size > recentRoom {
		l.size -= len(l.recent[0])
		l.recent[0], l.recent = nil, l.recent[1:]
	}
}

// NewLog returns a Log that hands each Write on to w, and waits for it, until Detach is
// called.
func NewLog(w io.Writer) *Log { return &Log{w: w} }

// Detach makes Write return at once from now on.
func (l *Log) Detach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.detached = true
}

// OnRecovery has say called with the number of lines that were dropped, once
// there is a reader again; it may write to the log.
func (l *Log) OnRecovery(say func(lines uint64)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notice = say
}

// Dropped is how many lines could not be written.
func (l *Log) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Write implements io.Writer. p is whole lines.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.remember(p)
	if !l.detached {
		l.mu.Unlock() // who detaches must not wait
		l.direct.Lock()
		defer l.direct.Unlock()
		return l.w.Write(p)
	}
	defer l.mu.Unlock()
	switch {
	case len(l.waiting)+len(p) > logRoom:
		l.dropped += lines(p)
	default:
		l.waiting = append(l.waiting, p...)
		if l.idle == nil {
			l.idle = make(chan struct{})
			go l.drain() // until all is written: Flush waits for it
		}
	}
	return len(p), nil
}

func (l *Log) drain() {
	for {
		switch p, say := l.next(); {
		case len(p) > 0:
			l.write(p)
		case say != nil:
			say()
		default:
			return
		}
	}
}

// next takes what waits; where nothing does, what says how much was missed.
func (l *Log) next() (p []byte, say func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, l.waiting = l.waiting, nil; len(p) > 0 {
		return p, nil
	}
	if missed, notice := l.dropped-l.told, l.notice; missed > 0 && l.taken && notice != nil {
		l.told = l.dropped
		return nil, func() { notice(missed) }
	}
	close(l.idle)
	l.idle = nil
	return nil, nil
}

func (l *Log) write(p []byte) {
	n, err := l.w.Write(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken = err == nil; !l.taken {
		l.dropped += lines(p[n:])
	}
}

// Flush waits until all is written, at most for limit.
func (l *Log) Flush(limit time.Duration) {
	l.mu.Lock()
	idle := l.idle
	l.mu.Unlock()
	if idle == nil {
		return
	}
	select {
	case <-idle:
	case <-time.After(limit):
	}
}

func lines(p []byte) uint64 { return uint64(bytes.Count(p, []byte("\n"))) }
