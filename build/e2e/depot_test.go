package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/build/rig"
)

// TestHostileDepot lets a depot whose credential is in the wrong hands do all that
// it can, while another works: that one goes on, and the centre stays small.
func TestHostileDepot(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	site.Start()
	parcels := rig.Traffic(rig.Chance(1, "hostile depot"), "YT", 40)
	site.Import(parcels)
	h := &hostileDepot{t: t, site: site}
	stop := make(chan struct{})
	var attacks sync.WaitGroup
	for _, attack := range []func(){h.bomb, h.bomb, h.bomb, h.complain, h.claim} {
		attacks.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					attack()
				}
			}
		})
	}
	end := sync.OnceFunc(func() { close(stop); attacks.Wait() })
	t.Cleanup(end)
	h.poison(parcels)
	publish(t, site.Scanner("gate-1"), rig.Scans(parcels, 3, "gate-1"))
	site.Drain()
	end()
	site.Audit(rig.Allow{}) // every parcel's receiver got what is his
	if st, err := site.Status(); err != nil || st.Outcome["dead"] > 0 || st.Outcome["superseded"] > 40*2 {
		t.Errorf("the honest depot ends with %+v, %v", st.Outcome, err)
	}
	if peak := peakMemory(t, site.Central.PID()) >> 20; peak > 400 {
		t.Errorf("the centre took %d MiB", peak)
	}
}

type hostileDepot struct {
	t    *testing.T
	site *rig.Site
}

// sync makes one call and returns status and answer.
func (h *hostileDepot) sync(body string) (int, string) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(body))
	_ = z.Close()
	code, answer := h.site.Ask(http.MethodPost, "/v1/sync", rig.OtherToken, &zipped, "Content-Encoding", "gzip")
	return code, string(answer)
}

const hostileHead = `{"v":1,"epoch":"00000000000000aa","next_seq":9000000000000000,`

// bomb sends 8 KB that are 8 MiB of empty events.
func (h *hostileDepot) bomb() {
	if code, _ := h.sync(hostileHead + `"from":1,"events":[` + strings.Repeat("{},", 2_700_000) + `{}]}`); code != 413 && code != 503 {
		h.t.Errorf("a bomb is answered %d", code)
	}
}

// complain says that WeChat refuses the token.
func (h *hostileDepot) complain() {
	_, answer := h.sync(hostileHead + `"backlog":0}`)
	var got struct {
		Token struct{ Generation string }
	}
	if json.Unmarshal([]byte(answer), &got) == nil && got.Token.Generation != "" {
		h.sync(hostileHead + `"bad_token":"` + got.Token.Generation + `"}`)
	}
}

// claim has a huge backlog, and declares what nobody sent.
func (h *hostileDepot) claim() {
	var waiting []string
	for i := range 5000 {
		waiting = append(waiting, fmt.Sprintf(`"NO%d%d"`, time.Now().UnixNano(), i))
	}
	h.sync(hostileHead + `"backlog":9000000000000000000,"waiting":[` + strings.Join(waiting, ",") + `]}`)
}

// poison says of others' parcels that nobody is bound, dates scans of them ahead,
// fills their paths, and asks for their receivers.
func (h *hostileDepot) poison(parcels []*rig.Parcel) {
	var bindings, asks []string
	for _, p := range parcels {
		bindings = append(bindings, `{"waybill_id":"`+p.ID+`","exist":false,"age":0}`)
		asks = append(asks, `{"epoch":"00000000000000aa","seq":1,"event_id":"x","waybill_id":"`+p.ID+`"}`)
	}
	lists := `"bindings":[` + strings.Join(bindings, ",") + `],"ask":[` + strings.Join(asks, ",") + `]}`
	code, answer := h.sync(hostileHead + lists)
	for _, p := range parcels {
		if code == 200 && (strings.Contains(answer, p.Receiver.Phone) || strings.Contains(answer, p.Receiver.Name)) {
			h.t.Fatalf("a depot is told the receiver of a waybill that it has not scanned: %s", answer)
		}
	}
	ahead := time.Now().Add(20 * time.Hour).Unix()
	seq := 0
	for chunk := range 2 {
		var events []string
		for n := range 1000 {
			seq++
			p := parcels[chunk] // two paths are filled
			if n < len(parcels) {
				p = parcels[n]
			}
			events = append(events, fmt.Sprintf(`{"seq":%d,"event_id":"h%d","waybill_id":"%s","action_time":%d,"action_type":200001,"action_msg":"x","received_at":%d}`,
				seq, seq, p.ID, ahead+int64(n), ahead))
		}
		for code := 503; code == 503; { // the bombs have its places
			code, answer = h.sync(hostileHead + fmt.Sprintf(`"from":%d,"events":[%s],`, seq-999, strings.Join(events, ",")) + lists)
			if code != 200 && code != 503 {
				h.t.Fatalf("the hostile depot's scans: %d %s", code, answer)
			}
		}
	}
}
