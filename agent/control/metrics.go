package control

import (
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/store"
)

// WriteMetrics writes what status and outbox tell as metrics. What is measured
// elsewhere (calls, commits, rejects by reason) is in a metrics.Set.
func WriteMetrics(w io.Writer, s Status, c store.Counts, now time.Time) {
	counter := func(name string, n uint64) { metrics.WriteCounterUint64(w, "scanrelay_"+name, n) }
	gauge := func(name string, v float64) { metrics.WriteGaugeFloat64(w, "scanrelay_"+name, v) }

	counter("events_received_total", c.Received)
	counter("events_duplicate_total", c.Duplicate)
	counter("events_ignored_total", c.Ignored)
	counter("requeued_total", c.Requeued)
	for _, stage := range []store.State{store.Unsynced, store.AwaitingWaybill, store.ToPush} {
		gauge(`events_pending{stage="`+stage.String()+`"}`, float64(c.State[stage]))
	}
	age := 0.0
	if !c.Oldest.IsZero() {
		age = max(0, now.Sub(c.Oldest).Seconds())
	}
	gauge("oldest_pending_seconds", age)
	for _, outcome := range store.Outcomes() {
		counter(`outcomes_total{outcome="`+outcome.String()+`"}`, c.Settled[outcome])
	}
	gauge("dead_letters", float64(c.State[store.Dead]))
	gauge("dead_letter_bytes", float64(c.DeadBytes))
	gauge("dead_letters_crowded", number(c.Crowded))
	counter("dead_letters_no_room_total", c.NoRoom)
	gauge("quarantine_entries", float64(c.Quarantined))
	counter("quarantine_forgotten_total", c.Forgotten)
	gauge("store_bytes", float64(c.FileBytes))
	gauge("store_live_bytes", float64(c.LiveBytes))
	gauge("store_unreserved_bytes", float64(c.Unreserved))
	gauge("store_full", number(c.Full))
	gauge("store_damaged", number(c.Damaged != ""))
	gauge("mqtt_connected", number(s.MQTT.Connected))
	gauge("mqtt_full", number(s.MQTT.Full))
	gauge("mqtt_clients", float64(s.MQTT.Clients))
	gauge("mqtt_clients_throttled", float64(s.MQTT.Throttled))
	gauge("mqtt_waiting_bytes", float64(s.MQTT.Waiting))
	counter("mqtt_qos0_total", s.MQTT.QoS0)
	counter("mqtt_lost_total", s.MQTT.Lost)
	counter("mqtt_redelivered_total", s.MQTT.Redelivered)
	counter("mqtt_sessions_total", s.MQTT.Sessions)
	counter("mqtt_sessions_forgotten_total", s.MQTT.Forgotten)
	counter("mqtt_connections_refused_total", s.MQTT.Refused)
	counter("mqtt_connections_cut_total", s.MQTT.Cut)
	counter("mqtt_connections_broken_total", s.MQTT.Broken)
	counter("mqtt_publishes_denied_total", s.MQTT.Denied)
	counter("mqtt_takeovers_total", s.MQTT.Takeovers)
	counter("sparkplug_gaps_total", s.MQTT.SparkplugGaps)
	counter("sparkplug_rebirths_total", s.MQTT.RebirthsAsked)
	gauge("central_connected", number(s.Central.Connected))
	gauge("clock_believable", number(s.Clock == ClockOK))
	for _, state := range []string{"ok", "throttled", "blocked", "no_token", "unreachable"} {
		gauge(`wechat_state{state="`+state+`"}`, number(s.WeChat.State == state))
	}
	gauge("uptime_seconds", s.UptimeSeconds)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
