package broker

import (
	"log/slog"
	"maps"
	"sync"
	"time"
)

// limitedLog logs what devices do wrong, each kind once a minute for each device with
// how often it happened: a broken device must not fill the log, nor hide another.
type limitedLog struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[string]*rareWarning // guarded by mu
}

type rareWarning struct {
	last  time.Time
	since int // not logged since last
}

const (
	warnEvery = time.Minute
	maxKinds  = 256
)

func newLimitedLog(log *slog.Logger) *limitedLog {
	return &limitedLog{log: log, kinds: make(map[string]*rareWarning)}
}

// warn logs a warning about one device, by whatever tells it from others, with its
// details.
func (l *limitedLog) warn(who, message string, args ...any) {
	if more, ok := l.due(message, who); ok {
		if more > 0 {
			args = append(args, "more_since_last", more)
		}
		l.log.Warn(message, args...)
	}
}

// due reports whether a warning is to be logged now. Of many devices at once only
// the kind counts.
func (l *limitedLog) due(kind, who string) (more int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if len(l.kinds) >= maxKinds {
		maps.DeleteFunc(l.kinds, func(_ string, k *rareWarning) bool { return now.Sub(k.last) >= warnEvery })
	}
	key := kind + "\x00" + who
	if len(l.kinds) >= maxKinds {
		key = kind // there are few kinds
	}
	k := l.kinds[key]
	if k == nil {
		k = &rareWarning{}
		l.kinds[key] = k
	}
	if now.Sub(k.last) >= warnEvery {
		more, k.last, k.since = k.since, now, 0
		return more, true
	}
	k.since++
	return 0, false
}
