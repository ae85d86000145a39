package probe

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/link"
	"scanrelay/agent/intake/mapping"
)

func results(list []Finding) map[string]string {
	out := map[string]string{}
	for _, f := range list {
		out[f.What] = f.Result
	}
	return out
}

// patient is a probe for a slow machine.
func patient(broker string) *probe {
	p := newProbe(link.Config{ClientID: "probe"}, broker)
	p.quiet *= 3
	return p
}

func TestProbe(t *testing.T) {
	sources := []mapping.Source{{Topic: "$share/g/scans/#", QoS: 1}}
	m := intaketest.Mapper(t, mapping.Config{Sources: sources})
	for name, row := range map[string]struct {
		conf  string
		risks string
		all   bool
	}{
		"good":  {"max_inflight_messages 400\nmax_queued_messages 0", "", false},
		"stock": {"max_inflight_messages 20\nmax_queued_messages 1000", "queue window", false},
		"small": {"message_size_limit 10000\nmax_queued_messages 0\nmax_inflight_messages 400", "large messages", false},
		"all":   {"max_queued_messages 0", "", true},
		"keeps": {"retain_available false\nmax_queued_messages 0", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mq := intaketest.StartMosquitto(t, row.conf)
			mapper := m
			if row.all {
				mapper = intaketest.Mapper(t, mapping.Config{Sources: []mapping.Source{{Topic: "#", QoS: 1}}})
			}
			list := patient(mq.Addr()).run(t.Context(), mapper)
			got := results(list)
			for what, result := range got {
				if result == Risk != (row.risks != "" && strings.Contains(row.risks, what)) {
					t.Errorf("%s: %s is %s: %+v", name, what, result, list)
				}
			}
			if AtRisk(list) != (row.risks != "") || got["version"] != OK && name != "keeps" || got["kill, power cut"] != Unknown {
				t.Errorf("%s: %+v", name, list)
			}
			if row.all != (got["queue, window, retained"] == Unknown) {
				t.Errorf("%s: %+v", name, list)
			}
			want := OK
			if name == "keeps" {
				want = Unknown
			}
			if !row.all && got["retained"] != want {
				t.Errorf("%s: retained is %s: %+v", name, got["retained"], list)
			}
			// Nothing is left: a new session under that id finds none.
			if c, present, err := link.Connect(t.Context(), link.Config{ClientID: "probe"}, mq.Addr(), link.Options{Keep: true}); err != nil || present {
				t.Errorf("%s: the probe's session is left, %v", name, err)
			} else {
				c.Disconnect(10)
			}
		})
	}
	list := Run(t.Context(), link.Config{ClientID: "probe"}, "tcp://127.0.0.1:1", m)
	if len(list) != 1 || list[0].Result != Risk {
		t.Errorf("a broker that is away: %+v", list)
	}
}

// marker marks every message as kept, or none.
type marker struct {
	mochi.HookBase
	kept bool
}

func (m *marker) Provides(b byte) bool { return b == mochi.OnPacketEncode }

func (m *marker) OnPacketEncode(_ *mochi.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Publish {
		pk.FixedHeader.Retain = m.kept
	}
	return pk
}

func TestProbeOfRetained(t *testing.T) {
	for name, row := range map[string]struct {
		mark *marker
		want string
	}{
		"as it should be": {nil, OK}, "all marked": {&marker{kept: true}, Risk}, "none marked": {&marker{}, Risk},
	} {
		addr := fmt.Sprintf("127.0.0.1:%d", intaketest.FreePort(t))
		b := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
		err := errors.Join(b.AddHook(new(auth.AllowHook), nil), b.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: addr})))
		if row.mark != nil {
			err = errors.Join(err, b.AddHook(row.mark, nil))
		}
		if err = errors.Join(err, b.Serve()); err != nil {
			t.Fatal(err)
		}
		p := patient("tcp://" + addr)
		p.topic = "check"
		p.retained(t.Context())
		if len(p.findings) != 1 || p.findings[0].Result != row.want {
			t.Errorf("%s: %+v", name, p.findings)
		}
		if n := len(b.Topics.Retained.GetAll()); n > 0 {
			for topic := range b.Topics.Retained.GetAll() {
				if strings.HasPrefix(topic, "check") {
					t.Errorf("%s: %s is left at the broker", name, topic)
				}
			}
		}
		_ = b.Close()
	}
}
