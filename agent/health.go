package agent

import (
	"scanrelay/agent/control"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/health"
)

// health is what the centre is told of this agent with each sync.
func (a *Agent) health() *health.Report {
	h := healthOf(a.Status())
	h.Store.MaxBytes = int64(a.cfg.Store.MaxSize)
	return &h
}

func healthOf(s control.Status) health.Report {
	h := health.Report{
		Pending: s.Pending, Outcome: s.Outcome, Clock: s.Clock, WeChat: s.WeChat.State,
		Store: health.Store{FileBytes: s.Store.FileBytes, Full: s.Store.Full},
	}
	met := !s.Central.LastSync.IsZero() // before, nobody could have told the time, or given a token
	for _, a := range []struct {
		kind string
		is   bool
	}{
		{health.AlarmMQTTDown, !s.MQTT.Connected},
		{health.AlarmStoreFull, s.Store.Full},
		{health.AlarmWeChatBlocked, met && s.WeChat.State != syncapi.StateOK && s.WeChat.State != syncapi.StateThrottled},
		{health.AlarmClockUnknown, met && s.Clock != control.ClockOK},
		{health.AlarmStoreDamaged, s.Store.Damaged != ""},
		{health.AlarmDeadLetters, s.Store.Crowded},
		{health.AlarmClientsHeld, s.MQTT.Throttled > 0},
	} {
		if a.is {
			h.Alarms = append(h.Alarms, a.kind)
		}
	}
	return h
}
