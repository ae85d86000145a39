package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"scanrelay/agent/control"
)

// Status is what the agent is doing now.
func (a *Agent) Status() control.Status {
	var s control.Status
	s.Depot, s.Version = a.cfg.Depot.ID, a.opts.Version
	s.UptimeSeconds = math.Round(time.Since(a.started).Seconds()*10) / 10
	s.MQTT = a.mqttStatus()
	up := a.uplink.Status()
	s.Central.Connected, s.Central.LastSync = up.Central.Connected, control.Stamp{Time: up.Central.LastSync}
	s.WeChat.State, s.WeChat.Reason = up.WeChatState, up.WeChatReason
	s.Clock = control.ClockUnknown
	if a.clock.Believable() {
		s.Clock = control.ClockOK
	}
	s.SetCounts(a.outbox.Counts(), a.clock.Now())
	return s
}

// silentFor is how long the clock loop may be silent before the agent counts as
// hung.
const silentFor = 30 * time.Second

// Live tells why the agent is not alive; nil if its loops go round.
func (a *Agent) Live() error {
	if why := a.dead.Load(); why != nil {
		return errors.New(*why)
	}
	if a.outbox.Err() != nil {
		return fmt.Errorf("the store failed: %w", a.outbox.Err())
	}
	if silent := time.Since(a.started) - time.Duration(a.beat.Load()); silent > silentFor {
		return fmt.Errorf("the main loop has been silent for %s", silent.Round(time.Second))
	}
	return nil
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

// WriteMetrics writes all metrics in Prometheus' text format.
func (a *Agent) WriteMetrics(w io.Writer) {
	var b bytes.Buffer
	control.WriteMetrics(&b, a.Status(), a.outbox.Counts(), a.clock.Now())
	a.metrics.WritePrometheus(&b)
	_, _ = w.Write(b.Bytes()) // the caller's buffer
}

// mqttStatus is what the Source or the Broker is doing.
func (a *Agent) mqttStatus() control.MQTT {
	m := control.MQTT(a.intake.Status())
	if m.Full && m.Problem == "" {
		m.Problem = "there is no room for further scans: they are not acknowledged until there is"
	}
	m.SparkplugGaps, m.RebirthsAsked = a.births.Counts()
	return m
}
