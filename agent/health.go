package agent

import (
	"scanrelay/agent/control"
	"scanrelay/uplink/syncapi/health"
)

// health is what the centre is told of this agent with each sync.
func (a *Agent) health() *health.Report {
	h := healthOf(a.Status())
	return &h
}

func healthOf(s control.Status) health.Report {
	return health.Report{
		Pending: s.Pending, Outcome: s.Outcome, Clock: s.Clock, WeChat: s.WeChat.State,
		Store:  health.Store{FileBytes: s.Store.FileBytes, MaxBytes: s.Store.MaxBytes, Full: s.Store.Full},
		Alarms: s.Alarms,
	}
}
