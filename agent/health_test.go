package agent

import (
	"slices"
	"testing"
	"time"

	"scanrelay/agent/control"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/health"
)

// TestHealthNamesWhatIsWrong: each thing that is wrong is told by its kind, and none
// where all is well.
func TestHealthNamesWhatIsWrong(t *testing.T) {
	well := func() (s control.Status) {
		s.Central.LastSync.Time = time.Unix(1_800_000_000, 0)
		s.MQTT.Connected, s.Clock, s.WeChat.State = true, control.ClockOK, syncapi.StateOK
		return s
	}
	for kind, change := range map[string]func(*control.Status){
		"":                        func(*control.Status) {},
		health.AlarmMQTTDown:      func(s *control.Status) { s.MQTT.Connected = false },
		health.AlarmStoreFull:     func(s *control.Status) { s.Store.Full = true },
		health.AlarmWeChatBlocked: func(s *control.Status) { s.WeChat.State = syncapi.StateNoToken },
		health.AlarmClockUnknown:  func(s *control.Status) { s.Clock = control.ClockUnknown },
		health.AlarmStoreDamaged:  func(s *control.Status) { s.Store.Damaged = "one page" },
		health.AlarmDeadLetters:   func(s *control.Status) { s.Store.Crowded = true },
		health.AlarmClientsHeld:   func(s *control.Status) { s.MQTT.Throttled = 2 },
		health.AlarmQuiet:         func(s *control.Status) { s.QuietSince.Time = time.Unix(1_800_000_000, 0) },
	} {
		s := well()
		change(&s)
		s.SetAlarms(true)
		var want []string
		if kind != "" {
			want = []string{kind}
		}
		if got := healthOf(s).Alarms; !slices.Equal(got, want) {
			t.Errorf("%q: %v", kind, got)
		}
	}
	s := well()
	s.WeChat.State = syncapi.StateThrottled // is part of a day's work
	s.Pending, s.Outcome.Pushed, s.Store.FileBytes = health.Pending{Unsynced: 3, OldestSeconds: 7}, 5, 1<<20
	s.SetAlarms(true)
	h := healthOf(s)
	var starts control.Status
	starts.MQTT.Connected = true
	starts.SetAlarms(true)
	if got := healthOf(starts).Alarms; got != nil {
		t.Errorf("before the centre was heard: %v", got)
	}
	if h.Alarms != nil || h.Pending != (health.Pending{Unsynced: 3, OldestSeconds: 7}) || h.Outcome.Pushed != 5 || h.Store.FileBytes != 1<<20 {
		t.Errorf("%+v", h)
	}
}

// TestShortLimit: what waits for a descriptor is not hung, but no longer than a restart
// would help.
func TestShortLimit(t *testing.T) {
	for lasts, want := range map[time.Duration]bool{0: false, 1: true, shortLimit - 1: true, shortLimit: false} {
		if excused(lasts) != want {
			t.Errorf("%v: %v", lasts, !want)
		}
	}
}
