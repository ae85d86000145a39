package intake

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// notes logs what devices do wrong, each kind once a minute for each device with
// how often it happened: a broken device must not fill the log, nor hide another.
type notes struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[string]*kindOfNote // guarded by mu
}

type kindOfNote struct {
	last  time.Time
	since int // not logged since last
}

const (
	noteEvery = time.Minute
	maxKinds  = 256
)

func newNotes(log *slog.Logger) *notes {
	return &notes{log: log, kinds: make(map[string]*kindOfNote)}
}

// note logs a warning about one device, by whatever tells it from others, with its
// details.
func (n *notes) note(who, message string, args ...any) {
	if more, ok := n.due(message, who); ok {
		if more > 0 {
			args = append(args, "more_since_last", more)
		}
		n.log.Warn(message, args...)
	}
}

// due reports whether a note is to be logged now. Of many devices at once only
// the kind counts.
func (n *notes) due(kind, who string) (more int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if len(n.kinds) >= maxKinds {
		maps.DeleteFunc(n.kinds, func(_ string, k *kindOfNote) bool { return now.Sub(k.last) >= noteEvery })
	}
	key := kind + "\x00" + who
	if len(n.kinds) >= maxKinds {
		key = kind // there are few kinds
	}
	k := n.kinds[key]
	if k == nil {
		k = &kindOfNote{}
		n.kinds[key] = k
	}
	if now.Sub(k.last) >= noteEvery {
		more, k.last, k.since = k.since, now, 0
		return more, true
	}
	k.since++
	return 0, false
}

// quiet is the slog.Handler for mochi-mqtt's own messages: its news are details
// for us, its warnings come once a minute, and packets, which hold waybill data,
// are left out.
type quiet struct{ notes *notes }

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	if l < slog.LevelWarn {
		l = slog.LevelDebug
	}
	return q.notes.log.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (q quiet) Handle(_ context.Context, r slog.Record) error {
	var args []any
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "pk", "packet", "will":
		default:
			args = append(args, a)
		}
		return true
	})
	message := "mqtt broker: " + r.Message
	if r.Level < slog.LevelWarn {
		q.notes.log.Debug(message, args...)
		return nil
	}
	q.notes.note("", message, args...)
	return nil
}

// WithAttrs implements slog.Handler; mochi adds only names of its own parts.
func (q quiet) WithAttrs([]slog.Attr) slog.Handler { return q }

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(string) slog.Handler { return q }
