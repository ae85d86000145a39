package intake

import (
	"strings"
	"testing"
)

func verdicts(list []Finding) map[string]string {
	out := map[string]string{}
	for _, f := range list {
		out[f.What] = f.Verdict
	}
	return out
}

func TestProbe(t *testing.T) {
	sources := []Mapping{{Topic: "$share/g/scans/#", QoS: 1}}
	m := testMapper(t, MapperConfig{Sources: sources})
	for name, row := range map[string]struct {
		conf  string
		risks string
		all   bool
	}{
		"good":  {"max_inflight_messages 400\nmax_queued_messages 0", "", false},
		"stock": {"max_inflight_messages 20\nmax_queued_messages 1000", "queue window", false},
		"small": {"message_size_limit 10000\nmax_queued_messages 0\nmax_inflight_messages 400", "large messages", false},
		"all":   {"max_queued_messages 0", "", true},
	} {
		mq := startMosquitto(t, row.conf)
		mapper := m
		if row.all {
			mapper = testMapper(t, MapperConfig{Sources: []Mapping{{Topic: "#", QoS: 1}}})
		}
		list := Probe(t.Context(), SourceConfig{ClientID: "probe"}, mq.addr(), mapper)
		got := verdicts(list)
		for what, verdict := range got {
			if verdict == ProbeRisk != (row.risks != "" && strings.Contains(row.risks, what)) {
				t.Errorf("%s: %s is %s: %+v", name, what, verdict, list)
			}
		}
		if AtRisk(list) != (row.risks != "") || got["version"] != ProbeOK || got["kill, power cut"] != ProbeUnknown {
			t.Errorf("%s: %+v", name, list)
		}
		if row.all != (got["queue, window"] == ProbeUnknown) {
			t.Errorf("%s: %+v", name, list)
		}
		// Nothing is left: a new session under that id finds none.
		if c, present, err := (visitor{keep: true}).visit(t.Context(), SourceConfig{ClientID: "probe"}, mq.addr()); err != nil || present {
			t.Errorf("%s: the probe's session is left, %v", name, err)
		} else {
			c.Disconnect(10)
		}
		mq.kill()
	}
	list := Probe(t.Context(), SourceConfig{ClientID: "probe"}, "tcp://127.0.0.1:1", m)
	if len(list) != 1 || list[0].Verdict != ProbeRisk {
		t.Errorf("a broker that is away: %+v", list)
	}
}
