package rig

import (
	"fmt"
	"strings"

	"scanrelay/wechat/fake"
)

// Allow is what an audit lets pass, because something was done to the site.
// The zero value lets nothing pass.
type Allow struct {
	// PerKill is how many double pushes each kill of the agent may have cost.
	PerKill int
	// Lost is how many double pushes answers of WeChat that were lost on the
	// way, or abandoned calls, may have cost.
	Lost int
	// Unreachable: central was away, so reverse lookups may have failed
	// with 932001.
	Unreachable bool
	// TryAgain: central's disk was slow, or its database away, so it may have told
	// WeChat to ask again.
	TryAgain bool
}

// evidence is all that is known about a site after everything has drained:
// what scanners, agent and WeChat say, each on its own.
type evidence struct {
	sent, acked map[key]Scan
	lines       []Line
	status      Status
	pushes      []fake.Push
	lookups     []fake.Lookup
	calls       []fake.Call
	kills       int // of the agent
}

// Audit gathers the evidence, reports every contradiction in it and what of
// the forbidden stands in the logs.
func (s *Site) Audit(allow Allow) {
	s.t.Helper()
	st, err := s.Status()
	if err != nil {
		s.t.Errorf("ask for the status: %v", err)
	}
	e := evidence{
		lines: s.Events(), status: st, kills: s.kills,
		pushes: s.WeChat.Pushes(), lookups: s.WeChat.Lookups(), calls: s.WeChat.Calls(),
	}
	e.sent, e.acked = s.Ledger.entries()
	wrong, twice := e.check(allow)
	for _, w := range wrong {
		s.t.Errorf("%s", w)
	}
	s.t.Logf("%d events, pushed twice: %s", len(e.lines), twice)
}

// check returns every contradiction, the first few of each kind, and tells what
// was pushed twice.
func (e evidence) check(allow Allow) (wrong []string, twice string) {
	a := &audit{evidence: e, allow: allow, shown: map[string]int{}}
	lines := a.checkOutcomes()
	a.checkPushes(lines)
	a.checkOrder()
	twice = a.checkTwice()
	a.checkLookups()
	a.checkCounts(len(lines))
	for kind, n := range a.shown {
		if n > shownOfAKind {
			a.found = append(a.found, fmt.Sprintf("%s: %d in all", kind, n))
		}
	}
	return a.found, twice
}

const shownOfAKind = 5

type audit struct {
	evidence
	allow Allow
	shown map[string]int
	found []string
}

// wrong notes one contradiction.
func (a *audit) wrong(kind, format string, args ...any) {
	if a.shown[kind]++; a.shown[kind] <= shownOfAKind {
		a.found = append(a.found, kind+": "+fmt.Sprintf(format, args...))
	}
}

// checkOutcomes holds that every acknowledged event is stored once and ended as
// its parcel's binding asks for, and that nothing is stored that nobody sent.
func (a *audit) checkOutcomes() map[key]Line {
	lines := map[key]Line{}
	for _, l := range a.lines {
		if l.State == "rejected" {
			a.wrong("rejected", "%s on topic %s", l.LastError, l.Topic)
			continue
		}
		key := key{l.WaybillID, l.EventID}
		if _, ok := a.sent[key]; !ok {
			a.wrong("never sent", "%s holds %v", l.ID, key)
		}
		if other, twice := lines[key]; twice {
			a.wrong("stored twice", "%v as %s and %s", key, other.ID, l.ID)
		}
		lines[key] = l
	}
	for key, scan := range a.acked {
		l, ok := lines[key]
		if !ok {
			a.wrong("lost", "%v was acknowledged and is not stored", key)
			continue
		}
		if want := wanted(scan); l.State != want {
			a.wrong("outcome", "%v (%s) is %s after %d attempts, want %s: %s", key, l.ID, l.State, l.Attempts, want, l.LastError)
		}
	}
	return lines
}

// wanted is how an event must end.
func wanted(scan Scan) string {
	if scan.Parcel.Bound {
		return "pushed"
	}
	return "not_bound"
}

// node is what identifies an event at WeChat.
type node struct {
	waybill string
	time    int64
	action  int
	message string
}

func nodeOf(s Scan) node { return node{s.Parcel.ID, s.Time, s.Action, s.Message} }

func nodeOfPush(p fake.Push) node {
	return node{p.WaybillID, p.Node.ActionTime, p.Node.ActionType, p.Node.ActionMsg}
}

// checkPushes holds that WeChat showed exactly what the agent calls pushed,
// with the parcel's data.
func (a *audit) checkPushes(lines map[key]Line) {
	byNode := map[node]Scan{}
	for _, s := range a.sent {
		byNode[nodeOf(s)] = s
	}
	got := map[node]bool{}
	for _, p := range a.pushes {
		n := nodeOfPush(p)
		got[n] = true
		s, ok := byNode[n]
		switch {
		case !ok:
			a.wrong("foreign push", "WeChat was told %v, which nobody sent", n)
		case p.CreateTime != s.Parcel.CreateTime || p.Receiver.Phone != s.Parcel.Receiver.Phone || p.Receiver.Name != s.Parcel.Receiver.Name:
			a.wrong("wrong data", "the push of %v does not carry its waybill's data", s.key())
		case lines[s.key()].State != "pushed":
			a.wrong("outcome is not the truth", "WeChat showed %v, the agent says %s", s.key(), lines[s.key()].State)
		}
	}
	for n, s := range byNode {
		if lines[s.key()].State == "pushed" && !got[n] {
			a.wrong("not pushed", "%v is pushed, says the agent; WeChat never heard of it", s.key())
		}
	}
}

// checkOrder holds that WeChat showed each waybill's nodes in the order in
// which they were scanned; the same one again is checkTwice's. What a killed agent
// had sent may be worked on after what the next one sends.
func (a *audit) checkOrder() {
	type latest struct {
		time int64
		life int
	}
	seen, lives := map[string]latest{}, a.lives()
	for _, p := range a.pushes {
		last, now := seen[p.WaybillID], latest{p.Node.ActionTime, lives[p.CallSeq]}
		if now.life < last.life {
			continue
		}
		if now.time < last.time {
			a.wrong("order", "%s: node of %d came after that of %d", p.WaybillID, now.time, last.time)
		}
		seen[p.WaybillID] = now
	}
}

// checkTwice holds that double pushes are few, and each explained by the kill of
// the agent that made the first.
func (a *audit) checkTwice() string {
	lives := a.lives()
	first, perKill, unexplained, total := map[node]int{}, make([]int, a.kills), 0, 0
	for _, p := range a.pushes {
		n, life := nodeOfPush(p), lives[p.CallSeq]
		before, again := first[n]
		first[n] = life
		switch {
		case !again:
			continue
		case before != life: // in whichever order both were worked on
			perKill[min(before, life)]++
		default:
			unexplained++
		}
		total++
	}
	for i, count := range perKill {
		if count > a.allow.PerKill {
			a.wrong("pushed twice", "kill %d cost %d double pushes, at most %d may be", i+1, count, a.allow.PerKill)
		}
	}
	if unexplained > a.allow.Lost {
		a.wrong("pushed twice", "%d without a kill between, at most %d may be", unexplained, a.allow.Lost)
	}
	return fmt.Sprintf("%d in all, by kill %v, without one %d", total, perKill, unexplained)
}

// lives tells for each call by its number in which of the agent's lives, from
// 0, it was made.
func (a *audit) lives() map[int]int {
	lives := map[int]int{}
	for _, c := range a.calls {
		lives[c.Seq] = lifeOf(c.Remote)
	}
	return lives
}

// checkLookups holds that WeChat always found at central what it was told by
// the agent: a push before central had the node would be refused (932002/3).
func (a *audit) checkLookups() {
	for _, l := range a.lookups {
		if l.Errcode == 0 || a.allow.Unreachable && l.Errcode == 932001 || a.allow.TryAgain && strings.Contains(l.Problem, "ResultCode 3") {
			continue
		}
		a.wrong("reverse lookup", "%d for %s: %s", l.Errcode, l.WaybillID, l.Problem)
	}
}

// checkCounts holds that the counts are those of the stored events.
func (a *audit) checkCounts(stored int) {
	st := a.status
	if st.Intake.Received != uint64(stored) || st.Waiting()+st.Finished() != st.Intake.Received {
		a.wrong("counts", "%d events are stored; received %d, waiting %d, outcomes %v", stored, st.Intake.Received, st.Waiting(), st.Outcome)
	}
}
