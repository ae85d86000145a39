package e2e

import (
	"testing"

	"scanrelay/build/rig"
)

// TestBacklogLargerThanMemory lets more scans wait than an agent holds in
// memory: WeChat is away, and of half of the parcels the centre has no data. The
// agent is killed meanwhile, and once more while all of it goes out. Everything
// is pushed, in order for each parcel.
func TestBacklogLargerThanMemory(t *testing.T) {
	t.Parallel()
	const parcelCount, perNode = 4_500, 4
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	site.Start()
	parcels := rig.Traffic(rig.Chance(9, "backlog"), "YT", parcelCount)
	site.Import(parcels[:parcelCount/2])
	site.WeChat.Cut()
	publish(t, site.Scanner("line-1"), rig.Scans(parcels, perNode, "line-1"))
	site.AwaitStatus("everything to be synced", func(st rig.Status) bool {
		return st.Pending.Unsynced == 0 && st.Pending.AwaitingWaybill == parcelCount/2*perNode
	})
	site.KillAgent()
	site.WeChat.Open()
	site.AwaitStatus("a part to be pushed", func(st rig.Status) bool {
		return st.Outcome["pushed"]+st.Outcome["not_bound"] > parcelCount/4
	})
	site.KillAgent()
	site.Import(parcels[parcelCount/2:])
	site.Drain()
	site.Audit(rig.Allow{PerKill: concurrency, Lost: concurrency})
}
