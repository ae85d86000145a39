package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"scanrelay/build/rig"
)

// TestChildren scans the parcels of a shipment before and after the centre knows
// whose they are: the receiver hears of the waybill alone, its path has them all.
func TestChildren(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	site.Start()
	parcels := rig.Traffic(rig.Chance(1, "children"), "SF", 3)
	mother, early, later := parcels[0], parcels[1], parcels[2]
	publish(t, site.Scanner("gate-1"), rig.Scans(parcels[1:2], 1, "gate-1"))
	site.AwaitStatus("a parcel to wait for data", func(st rig.Status) bool { return st.Pending.AwaitingWaybill == 1 })
	site.WeChat.Bind(mother.Receiver.Phone, true)
	line, err := json.Marshal(map[string]any{
		"waybill_id": mother.ID, "create_time": mother.CreateTime, "sender": mother.Sender, "receiver": mother.Receiver,
		"children": []string{early.ID, later.ID},
	})
	if err != nil {
		t.Fatal(err)
	}
	code, answer := site.Ask(http.MethodPost, "/v1/waybills", rig.AdminToken, strings.NewReader(string(line)))
	if code != http.StatusOK || !strings.Contains(string(answer), `"rejected":[]`) {
		t.Fatalf("import: %d %s", code, answer)
	}
	publish(t, site.Scanner("gate-2"), rig.Scans([]*rig.Parcel{later, mother}, 1, "gate-2"))
	if st := site.Drain(); st.Outcome["pushed"] != 1 || st.Outcome["superseded"] != 2 {
		t.Errorf("ended as %+v", st.Outcome)
	}
	for _, child := range []*rig.Parcel{early, later} {
		if out, stderr, code := site.Run("trace", child.ID, "-c", site.AgentFile); code != 0 || !strings.Contains(out, "a parcel's number") {
			t.Errorf("trace: %d %s%s", code, out, stderr)
		}
	}
	var view struct {
		Nodes []struct {
			Parcel string `json:"parcel"`
		} `json:"nodes"`
	}
	code, answer = site.Ask(http.MethodGet, "/v1/waybills/"+mother.ID, rig.AdminToken, http.NoBody)
	if err := json.Unmarshal(answer, &view); err != nil || code != http.StatusOK || len(view.Nodes) != 3 ||
		view.Nodes[0].Parcel != early.ID || view.Nodes[1].Parcel != later.ID || view.Nodes[2].Parcel != "" {
		t.Errorf("path: %d %s", code, answer)
	}
}
