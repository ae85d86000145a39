package broker

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store/durable"
)

// SessionsName is the file in data_dir that keeps the sessions of devices: a line
// with its version and its checksum, then JSON.
const SessionsName = "mqtt-sessions"

// savedSession is a session as the file has it. Times to come are told as how long
// they are away: a gateway's clock may be years off after a restart.
type savedSession struct {
	ID      string   `json:"id"`
	User    string   `json:"user,omitempty"`
	Address string   `json:"address,omitempty"`
	Lasts   int64    `json:"lasts_seconds"`
	Left    int64    `json:"left_seconds_ago,omitempty"`
	Filters []string `json:"filters,omitempty"`
}

// keeper has the sessions written when they change: soon where somebody waits for it,
// who shares the write with all others, and else after a while, since a device that
// changes its session all the time must not wear a card out.
type keeper struct {
	path   string // "": they are kept in memory alone
	disk   durable.Sealed
	write  func(any) error
	wake   chan struct{} // there is a change
	urgent chan struct{} // and somebody waits for it

	mu      sync.Mutex
	changed uint64        // changes so far; guarded by mu
	tried   uint64        // those that the last write knew, whether it failed or not; guarded by mu
	ended   chan struct{} // closed when the next write ends; guarded by mu
}

// Between two writes are so many times what the last one took, within bounds: a lone
// device waits for no other, and a file of megabytes is not written all the time.
const (
	restTimes = 20
	minRest   = 50 * time.Millisecond
	maxRest   = time.Second
	lazily    = 5 * time.Second // after a change for which nobody waits
)

func (k *keeper) init(path string) {
	k.path, k.disk = path, durable.Sealed{Path: path, Title: "scanrelay mqtt sessions", Version: 1}
	k.write = k.disk.Write
	k.wake, k.urgent, k.ended = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
}

// change has them written, and returns what to await for that.
func (k *keeper) change() (which uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changed++
	wait.Signal(k.wake)
	return k.changed
}

// await waits until a change is on disk, or could not be written.
func (k *keeper) await(ctx context.Context, which uint64) {
	if k.path == "" {
		return
	}
	k.mu.Lock()
	for k.tried < which && ctx.Err() == nil {
		wait.Signal(k.urgent)
		ended := k.ended
		k.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
		}
		k.mu.Lock()
	}
	k.mu.Unlock()
}

// keep writes the sessions when they change, until ctx ends, and then once more.
func (s *sessions) keep(ctx context.Context, log *slog.Logger) {
	if s.file.path == "" {
		return
	}
	problem := wait.Rarely{Every: time.Minute}
	for over := false; !over; {
		select {
		case <-ctx.Done():
			over = true
		case <-s.file.wake:
			select {
			case <-ctx.Done():
				over = true
			case <-s.file.urgent:
			case <-time.After(lazily):
			}
		}
		began := time.Now()
		err := s.save()
		if err != nil {
			if _, due := problem.Due(time.Now()); due {
				log.Warn("mqtt sessions cannot be written: after a restart devices are told that theirs is gone", "file", SessionsName, "error", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(max(restTimes*time.Since(began), minRest), maxRest)):
		}
	}
}

// save writes what there is, and tells those who wait for it.
func (s *sessions) save() error {
	k := &s.file
	k.mu.Lock()
	known := k.changed
	k.mu.Unlock()
	err := k.write(s.saved(time.Now()))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried = known
	close(k.ended)
	k.ended = make(chan struct{})
	return err
}

// saved returns the sessions that are to last.
func (s *sessions) saved(now time.Time) (list []savedSession) {
	s.mu.Lock()
	for _, one := range s.byID {
		if one.lasts == 0 {
			continue
		}
		e := savedSession{one.id, one.user, one.address, int64(one.lasts / time.Second), 0, one.filters}
		if one.conn == nil {
			e.Left = int64(now.Sub(one.left) / time.Second)
		}
		list = append(list, e)
	}
	s.mu.Unlock()
	return list
}

// load reads the file; one that is not there is empty. A file that cannot be used is
// kept aside, and devices begin anew.
func (s *sessions) load(path string, now time.Time, log *slog.Logger) {
	s.file.init(path)
	if path == "" {
		return
	}
	var list []savedSession
	err := s.file.disk.Read(&list)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		log.Warn("mqtt sessions cannot be read: devices are told that theirs is gone", "file", SessionsName, "error", err)
		return
	}
	for _, e := range list {
		if len(s.byID) < s.most {
			s.byID[e.ID] = &session{
				id: e.ID, all: &s.all, user: e.User, address: e.Address, filters: e.Filters,
				broke: true, // for all we know
				lasts: min(time.Duration(max(e.Lasts, 0))*time.Second, maxSessionLasts),
				left:  now.Add(-min(time.Duration(max(e.Left, 0))*time.Second, maxSessionLasts)),
			}
		}
	}
}
