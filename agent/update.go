package agent

import (
	"os"
	"time"

	"scanrelay/agent/remote"
	"scanrelay/agent/update/follow"
	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/record"
	"scanrelay/agent/update/trial"
	"scanrelay/agent/update/trust"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
)

// Update is what an agent that launch started needs for its part in updates.
type Update struct {
	Launched launch.Launched
	Restart  func()             // ends the process, which systemd starts again
	Tell     func(state string) // systemd
	First    string             // file with the first keys
}

// fleet is the agent's part in what the centre wants of it.
type fleet struct {
	follower *follow.Follower // nil: launch did not start this process
	remote   *remote.Keeper   // nil: nobody can put a configuration in use
}

// newFleet makes it, with the client that calls the centre.
func newFleet(a *Agent, client *syncapi.Client) *fleet {
	f := &fleet{}
	if u := a.opts.Update; u != nil {
		program, _ := os.Executable() // else it is brought whole
		address, files := client.Files(directive.UpdatesPath)
		f.follower = follow.New(follow.Config{
			Root: u.Launched.Root, Own: u.Launched.Own, Run: u.Launched.Run, Program: program, Built: a.opts.Built, First: u.First,
			Repository: trust.HTTP{URL: address, Client: files}, Auto: a.cfg.Update.Auto, MaxRate: int64(a.cfg.Update.MaxRate),
			Window: a.cfg.Update.Window, Now: a.clock.Now, Log: a.log,
		})
	}
	if a.opts.Configure != nil {
		address, files := client.Files(directive.ConfigPath)
		f.remote = remote.New(remote.Config{
			Dir: a.cfg.DataDir, Unused: a.cfg.RemoteUnused, Get: files.Do, Address: address, Apply: a.opts.Configure,
			Healthy: a.TakesScans, LastSync: func() time.Time { return a.up().Status().Central.LastSync }, Log: a.log,
		})
	}
	return f
}

// Tell is sync.Fleet's.
func (f *fleet) Tell(r *syncapi.Request) {
	if f.follower != nil {
		r.Update = f.follower.Report()
	}
	if f.remote != nil {
		r.Config = f.remote.Report()
	}
}

// Heard is sync.Fleet's.
func (f *fleet) Heard(d *directive.Directives, at time.Time) {
	if f.follower != nil {
		f.follower.Heard(d, at)
	}
	if f.remote != nil && d != nil {
		f.remote.Heard(d.Config)
	}
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
		LastSync: func() time.Time { return a.up().Status().Central.LastSync },
		Contact:  func() time.Time { return a.up().Status().Central.Contact },
		Holds:    a.fleet.follower.Holds,
		Received: func() uint64 { return a.outbox.Counts().Received },
	})
}
