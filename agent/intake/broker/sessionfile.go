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
	Broke   bool     `json:"broke,omitempty"`
	Filters []string `json:"filters,omitempty"`
}

// keeper has the sessions written whenever they change. All who wait meanwhile share
// one write.
type keeper struct {
	disk durable.Sealed // without a path they are kept in memory alone
	wake chan struct{}

	mu      sync.Mutex
	changed uint64        // changes so far; guarded by mu
	tried   uint64        // those that the last write knew, whether it failed or not; guarded by mu
	ended   chan struct{} // closed when the next write ends; guarded by mu
}

func (k *keeper) init(path string) {
	k.disk = durable.Sealed{Path: path, Title: "scanrelay mqtt sessions", Version: 1}
	k.wake, k.ended = make(chan struct{}, 1), make(chan struct{})
}

func (k *keeper) change() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changed++
	wait.Signal(k.wake)
}

// await waits until the changes so far are on disk, or could not be written.
func (k *keeper) await(ctx context.Context) {
	if k.disk.Path == "" {
		return
	}
	k.mu.Lock()
	for want := k.changed; k.tried < want && ctx.Err() == nil; k.mu.Lock() {
		ended := k.ended
		k.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
		}
	}
	k.mu.Unlock()
}

// keep writes the sessions when they change, until ctx ends, and then once more.
func (s *sessions) keep(ctx context.Context, log *slog.Logger) {
	if s.file.disk.Path == "" {
		return
	}
	problem := wait.Rarely{Every: time.Minute}
	for over := false; !over; {
		select {
		case <-ctx.Done():
			over = true
		case <-s.file.wake:
		}
		if err := s.save(); err != nil {
			if _, due := problem.Due(time.Now()); due {
				log.Warn("mqtt sessions cannot be written: after a restart devices are told that theirs is gone", "file", SessionsName, "error", err)
			}
		}
	}
}

// save writes what there is, and tells those who wait for it.
func (s *sessions) save() error {
	k := &s.file
	k.mu.Lock()
	known := k.changed
	k.mu.Unlock()
	err := k.disk.Write(s.saved(time.Now()))
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
		e := savedSession{one.id, one.user, one.address, int64(one.lasts / time.Second), 0, one.broke, one.filters}
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
				id: e.ID, all: &s.all, user: e.User, address: e.Address, broke: e.Broke, filters: e.Filters,
				lasts: min(time.Duration(max(e.Lasts, 0))*time.Second, maxSessionLasts),
				left:  now.Add(-min(time.Duration(max(e.Left, 0))*time.Second, maxSessionLasts)),
			}
		}
	}
}
