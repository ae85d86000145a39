package agent

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"scanrelay/agent/control"
	"scanrelay/agent/intake"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/user"
	"scanrelay/agent/scan"
	"scanrelay/configs"
	"scanrelay/store"
)

// Reload puts what can change while scans come into the place of what is: sources,
// stations, waybill_pattern, dedupe_window, depot.name, notify and the embedded
// broker's users. restart names the keys of next that are different and need a restart.
// After an error nothing has changed.
func (a *Agent) Reload(next *configs.Agent) (restart []string, err error) {
	rules, problems := mapping.Compile(next.Mapping())
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if s, ok := a.intake.(*served); ok {
		users, problems := user.Compile(next.MQTT.Embedded.Users)
		if err := problems.Err(); err != nil {
			return nil, err
		}
		s.SetUsers(users)
	}
	a.pipe.Update(rules, next.DedupeWindow)
	a.renotify(next.Notify)
	return needRestart(*a.cfg, *next), nil
}

// needRestart names the keys in which two configurations differ, beside those
// that can be reloaded.
func needRestart(was, next configs.Agent) (keys []string) {
	was.MQTT.Embedded.Users, next.MQTT.Embedded.Users = nil, nil
	for _, c := range []struct {
		key       string
		was, next any
	}{
		{"depot.id", was.Depot.ID, next.Depot.ID}, {"data_dir", was.DataDir, next.DataDir},
		{"mqtt", was.MQTT, next.MQTT}, {"quarantine", was.Quarantine, next.Quarantine},
		{"central", was.Central, next.Central}, {"identity", was.Identity, next.Identity}, {"wechat", was.WeChat, next.WeChat},
		{"store", was.Store, next.Store}, {"update", was.Update, next.Update},
		{"http", was.HTTP, next.HTTP}, {"log.format", was.Log.Format, next.Log.Format},
	} {
		if !reflect.DeepEqual(c.was, c.next) {
			keys = append(keys, c.key)
		}
	}
	return keys
}

// listen gives each message that devices publish to line, for `scanrelay
// listen`; nil where they publish to a broker of somebody else.
func (a *Agent) listen() func(ctx context.Context, line func(any) error) error {
	if !a.cfg.MQTT.IsEmbedded() {
		return nil
	}
	return func(ctx context.Context, line func(any) error) error {
		return a.pipe.Listen(ctx, func(m intake.Message) error { return line(m) })
	}
}

// replay puts entries of the quarantine, by their numbers, through the mapping
// that is in use; without numbers all of them. Numbers of no entry are named in
// the error; the others are replayed all the same.
func (a *Agent) replay(ctx context.Context, seqs []uint64) (control.Replayed, error) {
	now := a.clock.Now()
	wanted := make(map[uint64]bool, len(seqs)) // true: not met yet
	for _, seq := range seqs {
		wanted[seq] = true
	}
	others := 0
	r, err := a.outbox.Replay(ctx, func(q store.Quarantined) (scan.Batch, bool) {
		if _, ok := wanted[q.Seq]; ok {
			wanted[q.Seq] = false
		} else if len(seqs) > 0 {
			others++
			return scan.Batch{}, false
		}
		if age := now.Sub(q.ReceivedAt); age < 0 || age > 400*24*time.Hour {
			q.ReceivedAt = now // it came while the clock was wrong
		}
		return a.pipe.Mapper().Again(q.Reject, q.Seq)
	})
	r.Entries, r.Remaining = r.Entries-others, r.Remaining-others
	if err == nil {
		err = unknown(wanted)
	}
	return control.Replayed(r), err
}

// unknown names the numbers that were wanted and not met.
func unknown(wanted map[uint64]bool) error {
	var names []string
	for _, seq := range slices.Sorted(maps.Keys(wanted)) {
		if wanted[seq] {
			names = append(names, control.RejectedID(seq))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("not in quarantine: %s", strings.Join(names, ", "))
}
