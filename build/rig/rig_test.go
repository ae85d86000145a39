package rig

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/wechat/fake"
)

// sound makes the evidence of a run in which nothing went wrong.
func sound() Evidence {
	e := Evidence{Sent: map[Key]Scan{}}
	at := time.Unix(1_800_000_000, 0)
	for _, s := range Scans(Traffic(Chance(1, "rig"), "YT", 20), 3, "d") {
		e.Sent[s.Key()] = s
		state := "not_bound"
		if s.Parcel.Bound {
			state = "pushed"
			at = at.Add(time.Millisecond)
			e.push(pushOf(s, at), "life 0")
		}
		e.Lines = append(e.Lines, Line{ID: "0-1", WaybillID: s.Parcel.ID, EventID: s.EventID, State: state})
	}
	e.Acked = maps.Clone(e.Sent)
	e.Status.Intake.Received = uint64(len(e.Lines))
	e.Status.Outcome = map[string]uint64{"pushed": uint64(len(e.Pushes)), "not_bound": uint64(len(e.Lines) - len(e.Pushes))}
	return e
}

// push adds a push, made over a connection.
func (e *Evidence) push(p fake.Push, remote string) {
	p.CallSeq = len(e.Calls) + 1
	e.Calls = append(e.Calls, fake.Call{Seq: p.CallSeq, At: p.At, Remote: remote})
	e.Pushes = append(e.Pushes, p)
}

func pushOf(s Scan, at time.Time) fake.Push {
	return fake.Push{
		At: at, WaybillID: s.Parcel.ID, CreateTime: s.Parcel.CreateTime,
		Receiver: fake.Party{Phone: s.Parcel.Receiver.Phone, Name: s.Parcel.Receiver.Name},
		Node:     fake.Node{ActionTime: s.Time, ActionType: s.Action, ActionMsg: s.Message},
	}
}

// TestAuditFindsEachFault spoils sound evidence in one way at a time: an audit
// that cannot fail proves nothing.
func TestAuditFindsEachFault(t *testing.T) {
	if wrong, _ := sound().Check(Allow{}); len(wrong) != 0 {
		t.Fatalf("sound evidence is called wrong: %v", wrong)
	}
	for kind, spoil := range map[string]func(*Evidence){
		"lost":         func(e *Evidence) { e.Lines = e.Lines[1:]; e.Status.Intake.Received-- },
		"stored twice": func(e *Evidence) { e.Lines = append(e.Lines, e.Lines[0]) },
		"never sent":   func(e *Evidence) { e.Lines[0].EventID = "other" },
		"outcome":      func(e *Evidence) { e.Lines[0].State = "dead" },
		"rejected":     func(e *Evidence) { e.Lines = append(e.Lines, Line{State: "rejected"}) },
		"not pushed":   func(e *Evidence) { e.Pushes = e.Pushes[1:] },
		"foreign push": func(e *Evidence) { e.Pushes[0].WaybillID = "YTNOBODY" },
		"wrong data":   func(e *Evidence) { e.Pushes[0].CreateTime++ },
		"outcome is not the truth": func(e *Evidence) {
			i := slices.IndexFunc(e.Lines, func(l Line) bool { return l.WaybillID == e.Pushes[0].WaybillID })
			e.Lines[i].State = "not_bound"
		},
		"order": func(e *Evidence) {
			last := len(e.Pushes) - 1
			i := slices.IndexFunc(e.Pushes, func(p fake.Push) bool { return p.WaybillID == e.Pushes[last].WaybillID })
			e.Pushes[i], e.Pushes[last] = e.Pushes[last], e.Pushes[i]
		},
		"pushed twice":   func(e *Evidence) { e.Pushes = slices.Insert(e.Pushes, 1, e.Pushes[0]) },
		"reverse lookup": func(e *Evidence) { e.Lookups = []fake.Lookup{{Errcode: 932003}} },
		"counts":         func(e *Evidence) { e.Status.Outcome["pushed"]-- },
	} {
		t.Run(kind, func(t *testing.T) {
			e := sound()
			spoil(&e)
			wrong, _ := e.Check(Allow{})
			if !slices.ContainsFunc(wrong, func(w string) bool { return strings.HasPrefix(w, kind+":") }) {
				t.Errorf("not found; the audit says %v", wrong)
			}
		})
	}
}

// TestTwiceIsExplainedByKills lets a double push pass only with a kill between
// both, and only so many a kill.
func TestTwiceIsExplainedByKills(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	// Two answers are lost by a kill, and the second agent pushes again; of one
	// push the first agent's request is worked on after the second's start.
	e := sound()
	again := func(i int, at time.Time, remote string) {
		p := e.Pushes[i]
		p.At = at
		e.push(p, remote)
	}
	last := len(e.Pushes) - 1
	e.Pushes[last].At = start.Add(11 * time.Second)
	kill, late := Kill{start.Add(10 * time.Second)}, Kill{start.Add(time.Hour)}
	again(last-1, start.Add(12*time.Second), "life 1")
	again(last, start.Add(13*time.Second), "life 1")
	for _, c := range []struct {
		allow Allow
		wrong int
	}{
		{Allow{Kills: []Kill{kill}, PerKill: 2}, 0},
		{Allow{Kills: []Kill{kill}, PerKill: 1}, 1},
		{Allow{Kills: []Kill{late}, PerKill: 2}, 1},
		{Allow{Lost: 2}, 0},
		{Allow{Lost: 1}, 1},
	} {
		var wrong []string
		all, _ := e.Check(c.allow)
		for _, w := range all {
			if strings.HasPrefix(w, "pushed twice") {
				wrong = append(wrong, w)
			}
		}
		if len(wrong) != c.wrong {
			t.Errorf("%+v: %v, want %d", c.allow, wrong, c.wrong)
		}
	}
}

func TestLeaks(t *testing.T) {
	for line, want := range map[string]int{
		`{"msg":"synced","phone":"138******00","seq":13800138000123}`:   0,
		`{"at":1763891234567,"id":"00d13812345678ab-17","took":"1ms"}`:  0,
		`push to 13800138000 failed`:                                    1,
		`receiver 王鑫伟 of 幸福里12号`:                                        2,
		`POST https://api/x?access_token=98_abcdefghijklmnopqrstuvwxyz`: 1,
		`Authorization: Bearer ` + DepotToken:                           1,
	} {
		if got := leaks(line); len(got) != want {
			t.Errorf("leaks(%q) = %v, want %d", line, got, want)
		}
	}
}

// TestScannerGoesOn restarts a real mosquitto under a scanner: everything is
// acknowledged in the end, and each waybill's scans arrived in order.
func TestScannerGoesOn(t *testing.T) {
	m := NewMosquitto(t)
	m.Start()
	s := &Scanner{Addr: m.Addr, ID: "line", Ledger: NewLedger(), Rate: 400}
	scans := Scans(Traffic(Chance(2, "line"), "YT", 100), 4, "line")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Publish(ctx, scans) }()
	Await(t, 30*time.Second, "half of the scans", func() (bool, string) { return s.Ledger.Len() >= 200, "" })
	m.Kill()
	m.Start()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s.Ledger.Len() != 400 || s.Reconnects() == 0 {
		t.Errorf("%d acknowledged, %d reconnects; want 400, at least 1", s.Ledger.Len(), s.Reconnects())
	}
}

// TestScannerKeepsOrder reads along what a scanner publishes.
func TestScannerKeepsOrder(t *testing.T) {
	m := NewMosquitto(t)
	m.Start()
	got := make(chan string, 1000)
	o := mqtt.NewClientOptions().AddBroker("tcp://" + m.Addr).SetClientID("reader").SetProtocolVersion(4)
	reader := mqtt.NewClient(o)
	if token := reader.Connect(); token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
	t.Cleanup(func() { reader.Disconnect(100) })
	if token := reader.Subscribe("scans/#", 1, func(_ mqtt.Client, m mqtt.Message) { got <- string(m.Payload()) }); token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
	scans := Scans(Traffic(Chance(3, "order"), "YT", 50), 4, "line")
	s := &Scanner{Addr: m.Addr, ID: "line", Ledger: NewLedger(), Window: 200}
	if err := s.Publish(t.Context(), scans); err != nil {
		t.Fatal(err)
	}
	for i, want := range scans {
		if text := <-got; text != string(want.Payload()) {
			t.Fatalf("message %d is %s, want %s", i, text, want.Payload())
		}
	}
}
