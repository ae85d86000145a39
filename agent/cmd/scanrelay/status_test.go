package main

import (
	"testing"

	"scanrelay/agent/control"
)

// Of scanners only what is known is said: a broker that listens has none yet, and an
// external one tells of none.
func TestScannersAreWhatIsKnown(t *testing.T) {
	for want, c := range map[string]struct {
		m        control.MQTT
		embedded bool
	}{
		"listening, none is connected":     {control.MQTT{Connected: true}, true},
		"3 connected":                      {control.MQTT{Connected: true, Clients: 3}, true},
		"NOT LISTENING":                    {control.MQTT{}, true},
		"subscribed at the MQTT broker":    {control.MQTT{Connected: true}, false},
		"NOT CONNECTED to the MQTT broker": {control.MQTT{}, false},
	} {
		if got := scanners(c.m, c.embedded); got != want {
			t.Errorf("%+v: %q, want %q", c.m, got, want)
		}
	}
}
