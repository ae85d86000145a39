package agent

import (
	"time"

	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/record"
	"scanrelay/agent/update/trial"
)

// Update is what an agent that launch started needs for its part in updates.
type Update struct {
	Launched launch.Launched
	Restart  func()             // ends the process, which systemd starts again
	Tell     func(state string) // systemd
}

// keepUpdates makes the part that says how this version does.
func (a *Agent) keepUpdates() *trial.Keeper {
	u := a.opts.Update
	return trial.New(trial.Config{
		Launched: u.Launched, Restart: u.Restart, Tell: u.Tell, Log: a.log, Wall: a.clock.Now, Healthy: a.TakesScans,
		Now: func() record.Moment {
			boot, at := a.clock.Boot()
			return record.Moment{Boot: boot, At: at}
		},
		LastSync: func() time.Time { return a.uplink.Status().Central.LastSync },
		Received: func() uint64 { return a.outbox.Counts().Received },
	})
}
