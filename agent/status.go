package agent

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/control"
	"scanrelay/configs/exposition"
	"scanrelay/configs/wait"
	"scanrelay/store/durable"
)

// Status is what the agent is doing now.
func (a *Agent) Status() control.Status {
	var s control.Status
	s.Depot, s.Version = a.cfg.Depot.ID, a.opts.Version
	s.UptimeSeconds = math.Round(time.Since(a.started).Seconds()*10) / 10
	s.MQTT = a.mqttStatus()
	up := a.up().Status()
	s.Central.Problem = up.Central.Reason
	s.Central.Connected, s.Central.LastSync = up.Central.Connected, control.Stamp{Time: up.Central.LastSync}
	s.WeChat.State, s.WeChat.Reason = up.WeChatState, up.WeChatReason
	s.Clock = control.ClockUnknown
	if a.clock.Believable() {
		s.Clock = control.ClockOK
	}
	s.SetCounts(a.outbox.Counts(), a.clock.Now())
	s.Store.MaxBytes = int64(a.cfg.Store.MaxSize)
	s.QuietSince.Time = a.quiet.Since()
	s.SetAlarms(true)
	return s
}

// stuckAfter is how long a step of a loop may take before the agent counts as hung.
// The longest are calls of the centre and of WeChat, which have 30 s at most.
const stuckAfter = time.Minute

// shortLimit is how long loops may wait for a file descriptor: after it a restart may
// help, which gives back what this process holds.
const shortLimit = 10 * time.Minute

// excused reports whether loops may stand still since no file could be opened for so long:
// who holds the descriptors may give them back.
func excused(lasts time.Duration) bool { return lasts > 0 && lasts < shortLimit }

// pulses are those of the agent's loops.
type pulses struct{ store, intake, mqtt, sync, push, calls, clock wait.Pulse }

// stuck names the loop that is stuck, the one first that others wait for.
func (p *pulses) stuck() error {
	for _, loop := range []struct {
		name string
		*wait.Pulse
	}{
		{"the committer of the store", &p.store}, {"intake", &p.intake},
		{"the mqtt connection", &p.mqtt}, {"the sync relay", &p.sync},
		{"the push relay", &p.push}, {"calls of WeChat", &p.calls}, {"the clock's watch", &p.clock},
	} {
		if d := loop.Stuck(); d > stuckAfter {
			return fmt.Errorf("%s: stuck for %s", loop.name, d.Round(time.Second))
		}
	}
	return nil
}

// Live tells why the agent is not alive; nil if intake, committer and relays move.
func (a *Agent) Live() error {
	if why := a.dead.Load(); why != nil {
		return errors.New(*why)
	}
	if a.outbox.Err() != nil {
		return fmt.Errorf("the store failed: %w", a.outbox.Err())
	}
	if _, lasts := durable.Shortages(); excused(lasts) {
		return nil
	}
	return a.pulses.stuck()
}

// TakesScans tells why no scans are taken; nil if they are. The centre and
// WeChat don't matter.
func (a *Agent) TakesScans() error {
	switch {
	case a.Live() != nil:
		return a.Live()
	case !a.intake.Status().Connected && a.cfg.MQTT.IsEmbedded():
		return errors.New("the embedded broker does not listen yet")
	case !a.intake.Status().Connected:
		return errors.New("not subscribed at the mqtt broker")
	case a.outbox.Counts().Full:
		return errors.New("the store is full")
	}
	return nil
}

//go:embed metrics.txt
var metricRows string

var metricTable = exposition.MustRead(metricRows)

// WriteMetrics writes all metrics in Prometheus' text format.
func (a *Agent) WriteMetrics(w io.Writer) {
	var b bytes.Buffer
	control.WriteMetrics(&b, a.Status(), a.outbox.Counts(), a.clock.Now())
	metrics.WriteCounterUint64(&b, "scanrelay_log_dropped_total", a.opts.LogDropped())
	waits, _ := durable.Shortages()
	metrics.WriteCounterUint64(&b, "scanrelay_descriptor_waits_total", waits)
	a.metrics.WritePrometheus(&b)
	_ = metricTable.Write(w, b.Bytes(), a.opts.Version) // the caller's buffer
}

// mqttStatus is what the Source or the Broker is doing.
func (a *Agent) mqttStatus() control.MQTT {
	m := control.MQTT(a.intake.Status())
	if m.Full && m.Problem == "" {
		m.Problem = "there is no room for further scans: they are not acknowledged until there is"
	}
	if m.Throttled > 0 && m.Problem == "" {
		m.Problem = fmt.Sprintf("%d clients have their share of the room: their scans are not acknowledged until some of what they sent is done", m.Throttled)
	}
	m.SparkplugGaps, m.RebirthsAsked = a.births.Counts()
	return m
}
