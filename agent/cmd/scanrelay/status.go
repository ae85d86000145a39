package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
)

func (a *app) statusCommand() *cli.Command {
	l := &looker{app: a}
	cmd := &cli.Command{
		Use:   "status",
		Short: "Show what the agent is doing now",
		Long:  "Show what the agent is doing now, or, if it does not run, what its store holds: then\nthe exit code is 1.",
		Args:  cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			cfg, err := l.agentOf()
			if err != nil {
				return err
			}
			return l.look(ctx, func(v control.View) error {
				s, err := v.Status(ctx)
				switch {
				case err != nil:
					return err
				case l.json:
					err = a.JSON(s)
				default:
					err = a.printStatus(s, v.Running(), cfg.MQTT.IsEmbedded())
				}
				if err == nil && !v.Running() {
					err = cli.ErrShown // what is wrong is on the picture
				}
				return err
			})
		},
	}
	l.flags(cmd, false)
	return cmd
}

// printStatus is for people: what matters first, what is wrong in words.
func (a *app) printStatus(s control.Status, running, embedded bool) error {
	t := &cli.Table{Head: []string{"", ""}}
	t.Add("depot", string(s.Depot))
	if running {
		t.Add("agent", "running for "+age(int64(s.UptimeSeconds))+", version "+s.Version)
		t.Add("scanners", reason(scanners(s.MQTT, embedded), s.MQTT.Problem))
		if s.MQTT.QoS0 > 0 {
			t.Add("at risk", fmt.Sprintf("%d messages came with QoS 0, %d of them were lost for want of room", s.MQTT.QoS0, s.MQTT.Lost))
		}
		last := "never"
		if !s.Central.LastSync.IsZero() {
			last = s.Central.LastSync.String()
		}
		t.Add("centre", reason(word(s.Central.Connected, "connected", "NOT CONNECTED")+", last sync "+last, s.Central.Problem))
		t.Add("WeChat", reason(s.WeChat.State, s.WeChat.Reason))
		t.Add("clock", word(s.Clock == control.ClockOK, "ok", "UNKNOWN: events wait until it can be believed"))
	} else {
		t.Add("agent", "NOT RUNNING; this is what its store holds")
	}
	n := func(v uint64) string { return strconv.FormatUint(v, 10) }
	t.Add("intake", fmt.Sprintf("%d received, %d duplicate, %d ignored, %d rejected",
		s.Intake.Received, s.Intake.Duplicate, s.Intake.Ignored, s.Intake.Rejected))
	if n := s.Intake.Forgotten; n > 0 {
		t.Add("quarantine", fmt.Sprintf("%d older messages made way for newer ones (scanrelay quarantine list)", n))
	}
	t.Add("pending", fmt.Sprintf("%d unsynced, %d awaiting waybill data, %d to push; the oldest for %s",
		s.Pending.Unsynced, s.Pending.AwaitingWaybill, s.Pending.ToPush, age(s.Pending.OldestSeconds)))
	t.Add("pushed", n(s.Outcome.Pushed))
	t.Add("not pushed", fmt.Sprintf("%d not bound, %d superseded, %d expired, %d muted, %d discarded",
		s.Outcome.NotBound, s.Outcome.Superseded, s.Outcome.Expired, s.Outcome.Muted, s.Outcome.Discarded))
	dead := n(s.Outcome.Dead)
	if s.Outcome.Dead > 0 {
		dead += "  (scanrelay deadletter list)"
	}
	if s.Store.Crowded {
		dead += "; they take " + cli.Size(s.Store.DeadLetterBytes) + " of the store: RETRY OR DISCARD them, from a quarter on the oldest are discarded (no_room)"
	}
	t.Add("dead letters", dead)
	if n := s.Store.NoRoom; n > 0 {
		t.Add("no room", fmt.Sprintf("%d dead letters were discarded, since all of them took a quarter of the store", n))
	}
	t.Add("store", fmt.Sprintf("%s on disk, about %s in use%s", cli.Size(s.Store.FileBytes), cli.Size(s.Store.LiveBytes),
		word(s.Store.Full, "; FULL: scans are not acknowledged until there is room", "")))
	if n := s.Store.UnreservedBytes; n > 0 {
		t.Add("not reserved", cli.Size(n)+" that outcomes need: this file system cannot keep it from other programs")
	}
	if s.Store.Damaged != "" {
		t.Add("DAMAGE", s.Store.Damaged)
	}
	return t.Print(a.IO)
}

// scanners says what is known of them: an external broker tells of none.
func scanners(m control.MQTT, embedded bool) string {
	switch {
	case !embedded:
		return word(m.Connected, "subscribed at the MQTT broker", "NOT CONNECTED to the MQTT broker")
	case !m.Connected:
		return "NOT LISTENING"
	case m.Clients == 0:
		return "listening, none is connected"
	}
	return fmt.Sprintf("%d connected", m.Clients)
}

func word(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

func reason(state, why string) string {
	if why == "" {
		return state
	}
	return state + ": " + why
}

// age shows seconds as a duration that reads well.
func age(seconds int64) string { return (time.Duration(seconds) * time.Second).String() }
