package identity

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/durable"
	"scanrelay/uplink/syncapi"
)

// EndedName is the file of what was ended, in data_dir.
const EndedName = "revocations.log"

// Ended remembers, beside the store, which depots were revoked and which keys ended:
// a store that comes back from a backup knows nothing of what was ended since. A nil
// one remembers nothing.
type Ended struct {
	path string

	queue     sync.Mutex
	unwritten []end // guarded by queue; shortened by who holds mu alone

	mu   sync.Mutex // held while the file is written
	live int64      // bytes of what the file came to when it was written anew; guarded by mu

	knows  sync.Mutex
	words  map[scan.DepotID]word // guarded by knows
	newest end                   // what ended last; guarded by knows
}

// word is what is known of a depot. A slice that was given away is not changed.
type word struct {
	last end   // that tells of Revoked
	keys []end // that ended, the last maxPast+1
}

func (w word) revoked() bool { return w.last.Revoked != nil && *w.last.Revoked }

func (w word) key(fingerprint string) (l end, ok bool) {
	i := slices.IndexFunc(w.keys, func(l end) bool { return l.Key == fingerprint })
	if i < 0 {
		return l, false
	}
	return w.keys[i], true
}

// end is a line of the file, with its checksum. The last one of a depot that tells of
// Revoked counts; keys that ended stay so.
type end struct {
	Version int          `json:"v"`
	Time    time.Time    `json:"time"`
	Depot   scan.DepotID `json:"depot"`
	Revoked *bool        `json:"revoked,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Key     string       `json:"key,omitempty"` // fingerprint of one that ended
}

const (
	endedVersion = 1
	maxUnwritten = 1000 // a start finds those beyond in the store
)

// OpenEnded is the file in dir.
func OpenEnded(dir string) *Ended {
	return &Ended{path: filepath.Join(dir, EndedName), words: map[scan.DepotID]word{}}
}

// add writes lines, and those that could not be written before or wait with it. They
// are on disk when it returns nil.
func (e *Ended) add(lines ...end) error {
	if e == nil {
		return nil
	}
	e.learn(lines)
	e.queue.Lock()
	e.unwritten = append(e.unwritten, lines...)
	e.queue.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue.Lock()
	all := slices.Clone(e.unwritten)
	e.queue.Unlock()
	if len(all) == 0 {
		return nil
	}
	size, err := e.write(all)
	left := len(all)
	if err != nil {
		err = fmt.Errorf("write %s: %w; it is written with the next, and if a backup were put back before that, what was ended would count again", EndedName, err)
	} else if left = 0; size > max(compactAbove, 4*e.live) {
		if err = e.compact(); err != nil {
			err = fmt.Errorf("make %s anew: %w; all is noted, in a longer file", EndedName, err)
		}
	}
	e.queue.Lock()
	e.unwritten = slices.Delete(e.unwritten, 0, len(all)-min(left, maxUnwritten))
	e.queue.Unlock()
	return err
}

// load takes note of what the file has, and returns how many of its lines are no whole ones.
func (e *Ended) load() (damaged int, err error) {
	last, keys, damaged, err := e.read()
	if e == nil || err != nil {
		return 0, err
	}
	e.learn(slices.SortedFunc(maps.Values(keys), byTime))
	e.learn(slices.SortedFunc(maps.Values(last), byTime))
	return damaged, nil
}

func byTime(x, y end) int { return cmp.Or(x.Time.Compare(y.Time), cmp.Compare(x.Key, y.Key)) }

// learn takes note of what is in the file, or is to be, in the order in which it ended.
func (e *Ended) learn(lines []end) {
	e.knows.Lock()
	defer e.knows.Unlock()
	for _, l := range lines {
		w := e.words[l.Depot]
		if l.Revoked != nil {
			w.last = l
		}
		if _, known := w.key(l.Key); l.Key != "" && !known {
			w.keys = append(slices.Clone(w.keys[max(0, len(w.keys)-maxPast):]), l)
		}
		e.words[l.Depot] = w
		if (l.Key != "" || *l.Revoked) && !l.Time.Before(e.newest.Time) {
			e.newest = l
		}
	}
}

// known is what is known of each depot.
func (e *Ended) known() map[scan.DepotID]word {
	if e == nil {
		return nil
	}
	e.knows.Lock()
	defer e.knows.Unlock()
	return maps.Clone(e.words)
}

// latest is the depot of which something ended last, and what is known of it.
func (e *Ended) latest() (scan.DepotID, word) {
	e.knows.Lock()
	defer e.knows.Unlock()
	return e.newest.Depot, e.words[e.newest.Depot]
}

// write adds lines to the file and returns its size. A line begins anew whatever a
// power cut left of the one before.
func (e *Ended) write(lines []end) (size int64, err error) {
	text, err := formatEnded(lines)
	if err != nil {
		return 0, err
	}
	f, err := durable.Open(e.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	_, err = f.Write(slices.Concat([]byte("\n"), text))
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	return info.Size(), durable.SyncDir(filepath.Dir(e.path))
}

func formatEnded(lines []end) (text []byte, err error) {
	for _, l := range lines {
		l.Version = endedVersion
		line, err := formatLine(l)
		if err != nil {
			return nil, err
		}
		text = append(text, line...)
	}
	return text, nil
}

// compact writes the file anew: of each depot the last word, and the keys that ended
// last. A file with damage is kept.
func (e *Ended) compact() error {
	last, keys, damaged, err := e.read()
	if err != nil {
		return err
	}
	of := map[scan.DepotID][]end{}
	for _, l := range keys {
		of[l.Depot] = append(of[l.Depot], l)
	}
	for id, l := range last {
		of[id] = append(of[id], l)
	}
	var lines []end
	for _, id := range slices.Sorted(maps.Keys(of)) {
		all := slices.SortedFunc(slices.Values(of[id]), byTime)
		isKey := func(l end) bool { return l.Key != "" }
		for i := range all {
			if !isKey(all[i]) || i >= len(all)-maxPast-1 {
				lines = append(lines, all[i])
			}
		}
	}
	text, err := formatEnded(lines)
	if err == nil && damaged > 0 {
		err = durable.SetAside(e.path, durable.AsideName(e.path))
	}
	if err == nil {
		err = durable.Create(e.path, text)
	}
	if err == nil {
		e.live = int64(len(text))
	}
	return err
}

// read returns the last word about each depot, the keys that ended, and how many
// lines are no whole ones.
func (e *Ended) read() (last map[scan.DepotID]end, keys map[string]end, damaged int, err error) {
	last, keys = map[scan.DepotID]end{}, map[string]end{}
	if e == nil {
		return last, keys, 0, nil
	}
	data, err := durable.ReadFile(e.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, 0, fmt.Errorf("read %s: %w", EndedName, err)
	}
	for text := range bytes.Lines(data) {
		var l end
		if text = bytes.TrimSuffix(text, []byte("\n")); len(text) == 0 {
			continue
		}
		switch {
		case !parseLine(text, &l):
			damaged++
			continue
		case l.Version > endedVersion:
			return nil, nil, 0, fmt.Errorf("read %s: %w (version %d, this one knows %d)", EndedName, durable.ErrNewer, l.Version, endedVersion)
		}
		if l.Revoked != nil {
			last[l.Depot] = l
		}
		if l.Key != "" {
			keys[l.Key] = l
		}
	}
	return last, keys, damaged, nil
}

// CheckEnded refuses what is no such file. Of one a power cut may have spoilt a line.
func CheckEnded(data []byte) error {
	for text := range bytes.Lines(data) {
		if parseLine(bytes.TrimSuffix(text, []byte("\n")), &end{}) {
			return nil
		}
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	return fmt.Errorf("%w: no line of it is one of %s", durable.ErrDamaged, EndedName)
}

// change is one change of the store: the registration that fn returns is put. What it
// ended is noted beside the store once that is durable there; where the process dies
// in between the next start does it.
func (s *Service) change(ctx context.Context, fn func(t Tx) (*Registration, error)) error {
	var r *Registration
	err := s.o.Store.Update(ctx, func(t Tx) (err error) {
		if r, err = fn(t); err == nil && r != nil {
			err = t.PutDepot(r)
		}
		return err
	})
	if err == nil && r != nil {
		s.remember(r.ended)
	}
	return err
}

// remember never fails what is done already.
func (s *Service) remember(lines []end) {
	if err := s.o.Ended.add(lines...); err != nil {
		s.o.Logger.Error("note beside the store what was ended", "error", err)
	}
}

// enforceChunk is how many depots one change ends.
const enforceChunk = 100

// enforce ends in the store what has ended, and notes beside it what only the store
// knows, as another process ended it. It tells which depots it changed.
func (s *Service) enforce(ctx context.Context) (changed []scan.DepotID, err error) {
	words := s.o.Ended.known()
	var wrong []scan.DepotID
	var lines []end
	there := map[scan.DepotID]bool{}
	all, err := s.Registrations(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		there[r.ID] = true
		lines = append(lines, unknown(r, words[r.ID])...)
		if s.enforceOne(r, words[r.ID]) {
			wrong = append(wrong, r.ID)
		}
	}
	for id, w := range words {
		if w.revoked() && !there[id] {
			wrong = append(wrong, id)
		}
	}
	s.remember(lines)
	for some := range slices.Chunk(wrong, enforceChunk) {
		var done []scan.DepotID
		err := s.o.Store.Update(ctx, func(t Tx) error {
			done = nil
			for _, id := range some {
				r, err := t.Depot(id) // as it is when it is put
				if err != nil {
					return err
				}
				if r == nil {
					r = &Registration{ID: id, Created: words[id].last.Time}
				}
				if !s.enforceOne(r, words[id]) {
					continue
				}
				done = append(done, id)
				if err := t.PutDepot(r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return changed, err
		}
		changed = append(changed, done...)
	}
	return changed, nil
}

// unknown is what ended in the store and no line tells.
func unknown(r *Registration, w word) (lines []end) {
	for _, p := range r.Past {
		if _, ok := w.key(p.Fingerprint); !ok {
			lines = append(lines, end{Time: p.Until, Depot: r.ID, Key: p.Fingerprint})
		}
	}
	if !r.Revoked.IsZero() && !w.revoked() && (w.last.Revoked == nil || r.Revoked.After(w.last.Time)) {
		lines = append(lines, ofRevoked(r))
	}
	return lines
}

func ofRevoked(r *Registration) end {
	yes := true
	return end{Time: r.Revoked, Depot: r.ID, Revoked: &yes, Reason: r.Reason}
}

// endedSince is why a key is a past one that the store took for the one that counts.
const endedSince = "ended before this store's backup was put back"

// keyless reports that the depot's key ended after the backup which was put back: the
// one that took its place is not known here.
func (r *Registration) keyless() bool {
	return r.Revoked.IsZero() && len(r.Key) == 0 && len(r.Next) == 0 && len(r.Past) > 0 && r.Past[len(r.Past)-1].Why == endedSince
}

// tellKeyless names, at a start, the depots that cannot come back by themselves.
func (s *Service) tellKeyless(ctx context.Context) error {
	all, err := s.Registrations(ctx)
	var ids []string
	for _, r := range all {
		if r.keyless() {
			ids = append(ids, string(r.ID))
		}
	}
	if n := len(ids); n > 0 {
		s.o.Logger.Error("depots got other keys after the backup that was put back, which are not known here: for each make a token with scanrelay depot reset, and enrol its gateway with that",
			"depots", n, "first", strings.Join(ids[:min(n, 20)], " "))
	}
	return err
}

// enforceOne leaves what was enrolled after it had ended: perhaps at another process,
// whose file is another one.
func (s *Service) enforceOne(r *Registration, w word) (changed bool) {
	if r.damaged { // it is let in by nothing, and may be put back
		return false
	}
	if w.revoked() && r.Revoked.IsZero() && !r.Enrolled.After(w.last.Time) {
		r.revoke(w.last.Time, w.last.Reason)
		changed = true
	}
	for _, key := range []*[]byte{&r.Key, &r.Next} {
		if len(*key) == 0 {
			continue
		}
		if l, ok := w.key(syncapi.Fingerprint(*key)); ok && !r.Enrolled.After(l.Time) {
			r.past(*key, l.Time, endedSince)
			*key, r.By, r.Session = nil, "", ""
			changed = true
		}
	}
	return changed
}
