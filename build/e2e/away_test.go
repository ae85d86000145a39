package e2e

import (
	"syscall"
	"testing"
	"time"

	"scanrelay/build/rig"
	"scanrelay/wechat/fake"
)

// TestCentralAway takes central away: scans are still acknowledged and wait;
// when it is back all of them go out, in order.
func TestCentralAway(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: raceBinary, Embedded: true})
	site.Start()
	parcels := rig.Traffic(rig.Chance(5, "central away"), "YT", 200)
	site.Import(parcels)
	scans := rig.Scans(parcels, 3, "line-1")
	publish(t, site.Scanner("line-1"), scans[:200])
	site.Central.Stop()
	publish(t, site.Scanner("line-1"), scans[200:])
	site.AwaitStatus("the agent to see that central is away", func(st rig.Status) bool {
		return !st.Central.Connected && st.Pending.Unsynced >= 400
	})
	site.StartCentral()
	site.Drain()
	site.Audit(rig.Allow{Unreachable: true})
}

// TestCentralHangs stops central in its tracks: its port takes connections and
// answers nobody, as a half-dead machine does.
func TestCentralHangs(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{
		Binary: raceBinary, Embedded: true,
		WeChat: fake.Options{Lookup: fake.LookupRules{Timeout: time.Second}},
	})
	site.Start()
	parcels := rig.Traffic(rig.Chance(6, "central hangs"), "YT", 100)
	site.Import(parcels)
	scans := rig.Scans(parcels, 3, "line-1")
	publish(t, site.Scanner("line-1"), scans[:100])
	site.Central.Signal(syscall.SIGSTOP)
	publish(t, site.Scanner("line-1"), scans[100:])
	site.AwaitStatus("the scans to wait", func(st rig.Status) bool {
		return st.Intake.Received == 300 && st.Pending.Unsynced >= 200
	})
	site.Central.Signal(syscall.SIGCONT)
	site.Drain()
	site.Audit(rig.Allow{Unreachable: true})
}

// TestWeChatAway takes WeChat away in the middle of calls: scans are still
// taken and synced, the state says why nothing is pushed, and all goes out when
// it is back. Only calls whose answer was lost may have been pushed twice.
func TestWeChatAway(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: raceBinary, Embedded: true})
	site.Start()
	parcels := rig.Traffic(rig.Chance(7, "wechat away"), "YT", 200)
	site.Import(parcels)
	scans := rig.Scans(parcels, 3, "line-1")
	publish(t, site.Scanner("line-1"), scans[:200])
	site.WeChat.Cut()
	publish(t, site.Scanner("line-1"), scans[200:])
	st := site.AwaitStatus("the agent to see that wechat is away", func(st rig.Status) bool {
		return st.WeChat.State == "unreachable" && st.Pending.Unsynced == 0
	})
	if st.WeChat.Reason == "" {
		t.Error("wechat is unreachable and the status gives no reason")
	}
	if !st.Central.Connected {
		t.Error("central is said to be away, and only wechat is")
	}
	site.WeChat.Open()
	site.Drain()
	site.AwaitStatus("wechat to be ok", func(st rig.Status) bool { return st.WeChat.State == "ok" })
	site.Audit(rig.Allow{Lost: concurrency})
}

// TestTokenRotated voids the token three times while pushes are under way: one
// refresh each, and no event notices.
func TestTokenRotated(t *testing.T) {
	t.Parallel()
	const rotations = 3
	site := newSite(t, rig.Options{Binary: raceBinary, Embedded: true})
	site.Start()
	parcels := rig.Traffic(rig.Chance(8, "token"), "YT", 200)
	site.Import(parcels)
	scans := rig.Scans(parcels, 4, "line-1")
	for i := range rotations + 1 {
		quarter := scans[i*200 : (i+1)*200]
		wait := background(t, site.Scanner("line-1"), quarter)
		awaitAcked(t, site, i*200+100)
		if i < rotations {
			site.WeChat.RotateToken()
		}
		wait()
		site.Drain() // each rotation finds a token in use
	}
	site.Audit(rig.Allow{})
	if n := site.WeChat.Count(fake.StableToken, 0); n > rotations+1 {
		t.Errorf("%d tokens were fetched for %d rotations, want one each and the first", n, rotations)
	}
	refused := site.WeChat.Count(fake.PathNotify, 40001) + site.WeChat.Count(fake.UserQuery, 40001)
	// Those under way; an answer to one of them that comes in after a refusal, though
	// the call was made before the rotation, lets one other call try the token.
	if most := rotations * concurrency; refused == 0 || refused > most {
		t.Errorf("%d calls were made with a voided token, want 1 to %d", refused, most)
	}
}
