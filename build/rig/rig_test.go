package rig

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/wechat/fake"
)

// sound makes the evidence of a run in which nothing went wrong.
func sound() evidence {
	e := evidence{sent: map[key]Scan{}}
	at := time.Unix(1_800_000_000, 0)
	for _, s := range Scans(Traffic(Chance(1, "rig"), "YT", 20), 3, "d") {
		e.sent[s.key()] = s
		state := "not_bound"
		if s.Parcel.Bound {
			state = "pushed"
			at = at.Add(time.Millisecond)
			e.push(pushOf(s, at), "127.0.0.1:6"+lifePath+"0")
		}
		e.lines = append(e.lines, Line{ID: "0-1", WaybillID: s.Parcel.ID, EventID: s.EventID, State: state})
	}
	e.acked = maps.Clone(e.sent)
	e.status.Intake.Received = uint64(len(e.lines))
	e.status.Outcome = map[string]uint64{"pushed": uint64(len(e.pushes)), "not_bound": uint64(len(e.lines) - len(e.pushes))}
	return e
}

// push adds a push, made over a connection.
func (e *evidence) push(p fake.Push, remote string) {
	p.CallSeq = len(e.calls) + 1
	e.calls = append(e.calls, fake.Call{Seq: p.CallSeq, At: p.At, Remote: remote})
	e.pushes = append(e.pushes, p)
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
	if wrong, _ := sound().check(Allow{}); len(wrong) != 0 {
		t.Fatalf("sound evidence is called wrong: %v", wrong)
	}
	for kind, spoil := range map[string]func(*evidence){
		"lost":         func(e *evidence) { e.lines = e.lines[1:]; e.status.Intake.Received-- },
		"stored twice": func(e *evidence) { e.lines = append(e.lines, e.lines[0]) },
		"never sent":   func(e *evidence) { e.lines[0].EventID = "other" },
		"outcome":      func(e *evidence) { e.lines[0].State = "dead" },
		"rejected":     func(e *evidence) { e.lines = append(e.lines, Line{State: "rejected"}) },
		"not pushed":   func(e *evidence) { e.pushes = e.pushes[1:] },
		"foreign push": func(e *evidence) { e.pushes[0].WaybillID = "YTNOBODY" },
		"wrong data":   func(e *evidence) { e.pushes[0].CreateTime++ },
		"outcome is not the truth": func(e *evidence) {
			i := slices.IndexFunc(e.lines, func(l Line) bool { return l.WaybillID == e.pushes[0].WaybillID })
			e.lines[i].State = "not_bound"
		},
		"order": func(e *evidence) {
			last := len(e.pushes) - 1
			i := slices.IndexFunc(e.pushes, func(p fake.Push) bool { return p.WaybillID == e.pushes[last].WaybillID })
			e.pushes[i], e.pushes[last] = e.pushes[last], e.pushes[i]
		},
		"pushed twice":   func(e *evidence) { e.pushes = slices.Insert(e.pushes, 1, e.pushes[0]) },
		"reverse lookup": func(e *evidence) { e.lookups = []fake.Lookup{{Errcode: 932003}} },
		"counts":         func(e *evidence) { e.status.Outcome["pushed"]-- },
	} {
		t.Run(kind, func(t *testing.T) {
			e := sound()
			spoil(&e)
			wrong, _ := e.check(Allow{})
			if !slices.ContainsFunc(wrong, func(w string) bool { return strings.HasPrefix(w, kind+":") }) {
				t.Errorf("not found; the audit says %v", wrong)
			}
		})
	}
}

// twoTwice makes the evidence of two answers that were lost, with a kill or without
// one. After a kill the first agent's request is worked on late for one of them.
func twoTwice(kills int) evidence {
	e := sound()
	e.kills = kills
	again := fmt.Sprint("127.0.0.1:7", lifePath, kills)
	last := len(e.pushes) - 1
	e.push(e.pushes[last-1], again)
	e.push(e.pushes[last], e.calls[last].Remote)
	e.calls[last].Remote = again
	return e
}

// TestCallsTellTheirLife makes a call as the agent does after its third kill.
func TestCallsTellTheirLife(t *testing.T) {
	w := NewWeChat(t, fake.Options{})
	resp, err := http.Post(w.lifeURL(3)+"/cgi-bin/stable_token", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	calls := w.Calls()
	if len(calls) != 1 || calls[0].API != fake.StableToken || lifeOf(calls[0].Remote) != 3 {
		t.Errorf("%+v", calls)
	}
}

// TestTwiceIsExplainedByKills lets a double push pass only with a kill between
// both, and only so many a kill.
func TestTwiceIsExplainedByKills(t *testing.T) {
	for _, c := range []struct {
		kills int
		allow Allow
		wrong int
	}{
		{1, Allow{PerKill: 2}, 0},
		{1, Allow{PerKill: 1}, 1},
		{0, Allow{PerKill: 2}, 1},
		{0, Allow{Lost: 2}, 0},
		{0, Allow{Lost: 1}, 1},
	} {
		e := twoTwice(c.kills)
		var wrong []string
		all, _ := e.check(c.allow)
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
	s := &Scanner{Addr: m.Addr, ID: "line", Ledger: newLedger(), Rate: 400}
	scans := Scans(Traffic(Chance(2, "line"), "YT", 100), 4, "line")
	ctx, cancel := context.WithTimeout(t.Context(), Limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Publish(ctx, scans) }()
	Await(t, "half of the scans", func() (bool, string) { return s.Ledger.Len() >= 200, "" })
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
	s := &Scanner{Addr: m.Addr, ID: "line", Ledger: newLedger(), Window: 200}
	if err := s.Publish(t.Context(), scans); err != nil {
		t.Fatal(err)
	}
	for i, want := range scans {
		if text := <-got; text != string(want.Payload()) {
			t.Fatalf("message %d is %s, want %s", i, text, want.Payload())
		}
	}
}
