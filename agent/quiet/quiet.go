package quiet

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"time"

	"scanrelay/store/durable"
)

const (
	// FileName is the file in data_dir.
	FileName = "quiet.json"

	days  = 7
	kept  = (days + 1) * 24 // hours
	need  = 3               // days that must be known
	least = 10              // scans in an hour that is none of a quiet depot
	// pause is how long an agent may not have run within an hour that counts as whole.
	pause = 2 * time.Minute
)

// hour is what came in in one.
type hour struct {
	Hour  int64  `json:"hour"` // since 1970
	Scans uint32 `json:"scans"`
	Whole bool   `json:"whole"` // counted from its beginning on, without a longer pause
}

// memory is what the file remembers: Hours, the oldest first, of which the last is the
// one that was not over at At, seconds since 1970.
type memory struct {
	Hours []hour `json:"hours"`
	At    int64  `json:"at"`
}

// Watch counts. Since may be called concurrently with Run.
type Watch struct {
	file     durable.Sealed
	log      *slog.Logger
	received func() uint64
	now      func() (t time.Time, confirmed bool)

	last  uint64 // received, when the last look was taken
	m     memory
	mu    sync.Mutex
	since time.Time // guarded by mu; zero: not quiet
}

// New reads what an earlier one remembered in dataDir. received counts scans since ever;
// now is the time and whether anything confirms it.
func New(dataDir string, log *slog.Logger, received func() uint64, now func() (time.Time, bool)) *Watch {
	w := &Watch{
		file: durable.Sealed{Path: filepath.Join(dataDir, FileName), Title: "scanrelay scans by hour", Version: 1},
		log:  log, received: received, now: now, last: received(),
	}
	if err := w.file.Read(&w.m); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.m = memory{}
		log.Warn("scans by hour cannot be read; what is usual here is learned anew, for three days", "file", FileName, "error", err)
	}
	w.m.Hours = w.m.Hours[max(0, len(w.m.Hours)-kept):]
	return w
}

// Run looks each minute until ctx ends, and writes the file each hour and at its end.
func (w *Watch) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			w.save()
			return nil
		case <-tick.C:
			if now, ok := w.now(); ok && w.look(now, w.received()) {
				w.save()
			}
		}
	}
}

func (w *Watch) save() {
	if err := w.file.Write(w.m); err != nil {
		w.log.Warn("scans by hour cannot be written", "file", FileName, "error", err)
	}
}

// Since is when it became quiet, to the hour; zero while it is not.
func (w *Watch) Since() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.since
}

// look counts what came in since the last look, and reports whether an hour began.
func (w *Watch) look(now time.Time, received uint64) (began bool) {
	m, h := &w.m, now.Unix()/3600
	for len(m.Hours) > 0 && m.Hours[len(m.Hours)-1].Hour > h { // a clock that was ahead
		m.Hours = m.Hours[:len(m.Hours)-1]
	}
	paused := now.Unix()-m.At > int64(pause/time.Second) || now.Unix() < m.At
	if n := len(m.Hours); n > 0 && paused {
		m.Hours[n-1].Whole = false
	}
	if n := len(m.Hours); n == 0 || m.Hours[n-1].Hour != h {
		m.Hours = append(m.Hours, hour{Hour: h, Whole: n > 0 && !paused && m.Hours[n-1].Hour == h-1})
		m.Hours = append([]hour(nil), m.Hours[max(0, len(m.Hours)-kept):]...)
		began = true
	}
	cur := &m.Hours[len(m.Hours)-1]
	if received > w.last {
		cur.Scans = uint32(min(uint64(cur.Scans)+received-w.last, math.MaxUint32))
	}
	w.last, m.At = received, now.Unix()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = since(m.Hours)
	return began
}

// since is when it became quiet: the begin of the first of the hours without a scan that
// lead to the last one, where the hour before the last is one and was never so.
func since(hours []hour) time.Time {
	n := len(hours)
	if n < 2 || hours[n-1].Scans > 0 || !usual(hours[:n-1]) {
		return time.Time{}
	}
	i := n - 2
	for i > 0 && hours[i-1].Scans == 0 && hours[i-1].Whole && hours[i-1].Hour == hours[i].Hour-1 {
		i--
	}
	return time.Unix(hours[i].Hour*3600, 0)
}

// usual reports whether the last hour was whole and quiet, though at this hour of the
// last days, of which one may have been a day of rest, and of this weekday, scans came.
func usual(hours []hour) bool {
	last := hours[len(hours)-1]
	if last.Scans > 0 || !last.Whole {
		return false
	}
	known, busy := 0, 0
	for _, h := range hours[:len(hours)-1] {
		ago := last.Hour - h.Hour
		if ago%24 != 0 || ago > days*24 || !h.Whole && h.Scans < least {
			continue
		}
		known++
		if h.Scans >= least {
			busy++
		} else if ago == days*24 {
			return false
		}
	}
	return known >= need && busy >= known-1
}
