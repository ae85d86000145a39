package limit

import (
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Log logs what others can cause, each kind of line once in a while for each of them
// with how often it happened: one that is broken must not fill the log, nor hide another.
// Of too many at once only the kind counts.
type Log struct {
	log   *slog.Logger
	every time.Duration
	most  int

	mu    sync.Mutex
	kinds map[string]*rareLine // guarded by mu
}

type rareLine struct {
	last  time.Time
	since int // not logged since last
}

// NewLog returns one that tells most of them apart.
func NewLog(log *slog.Logger, every time.Duration, most int) *Log {
	return &Log{log: log, every: every, most: most, kinds: make(map[string]*rareLine)}
}

// Warn logs a warning about one of them, by whatever tells it from others, with its
// details.
func (l *Log) Warn(who, message string, args ...any) {
	l.WarnOf(who, message, func() []any { return args })
}

// WarnOf is Warn for details that cost something to tell.
func (l *Log) WarnOf(who, message string, details func() []any) {
	if more, ok := l.due(message, who); ok {
		args := details()
		if more > 0 {
			args = append(args, "more_since_last", more)
		}
		l.log.Warn(message, args...)
	}
}

// due reports whether a line is to be logged now.
func (l *Log) due(kind, who string) (more int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	k := l.kinds[kind+"\x00"+who]
	if k == nil {
		k = l.line(kind, who, now)
	}
	if now.Sub(k.last) >= l.every {
		more, k.last, k.since = k.since, now, 0
		return more, true
	}
	k.since++
	return 0, false
}

// line begins one. The caller holds mu.
func (l *Log) line(kind, who string, now time.Time) *rareLine {
	if len(l.kinds) >= l.most {
		maps.DeleteFunc(l.kinds, func(_ string, k *rareLine) bool { return now.Sub(k.last) >= l.every })
	}
	key := kind + "\x00" + who
	if len(l.kinds) >= l.most {
		key = kind // there are few kinds
	}
	if l.kinds[key] == nil {
		l.kinds[key] = &rareLine{}
	}
	return l.kinds[key]
}
