package e2e

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"scanrelay/build/rig"
)

// TestHostileCentre gives the agent another centre than its own, which answers all
// that an answer can be: the agent stays small and goes on taking scans, and loses
// nothing once its own is back.
func TestHostileCentre(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	head := `{"v":1,"store_id":"s","process":"p","have":0,"wechat":{"state":"ok"}`
	list := func(name, element string) string {
		return head + `,"` + name + `":[` + strings.Repeat(element+",", (15<<20)/(len(element)+1)) + element + `]}`
	}
	answers := []string{
		list("answers", "{}"), list("waybills", "{}"), list("ready", `""`),
		head + `,"token":{"value":"` + strings.Repeat("x", 15<<20) + `","expires_in":9000000000000000000}}`,
		head + `,"token":{"value":"x","generation":"g","expires_in":9000000000000000000},"rate":1e308,"time":-9000000000000000000}`,
		strings.Replace(head, `"s"`, `"`+strings.Repeat("s", 15<<20)+`"`, 1) + `}`,
		strings.Replace(head, `"ok"`, `"blocked","reason":"`+strings.Repeat("r", 15<<20)+`"`, 1) + `}`,
		strings.Repeat(`{"v":`, 1<<20), strings.Repeat(" ", 17<<20),
	}
	var calls atomic.Int64
	hostile := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(calls.Add(1) - 1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Retry-After", "-1")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		answer := head + "}" // between them a sound one, after which the agent waits less
		if n%2 == 0 {
			answer = answers[n/2%len(answers)]
		}
		_, _ = io.WriteString(z, answer)
		_ = z.Close()
	})}
	ln, err := net.Listen("tcp", site.CentralHTTP)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = hostile.Serve(ln) }()
	t.Cleanup(func() { _ = hostile.Close() })
	site.StartAgent()
	parcels := rig.Traffic(rig.Chance(1, "hostile centre"), "YT", 100)
	for i := 0; i < 10; i++ { // each scan makes it call anew, whatever it waits for
		publish(t, site.Scanner(fmt.Sprint("gate-", i)), rig.Scans(parcels[10*i:10*i+10], 2, fmt.Sprint("gate-", i)))
	}
	rig.Await(t, "the agent to hear all of it", func() (bool, string) {
		n := calls.Load()
		return n >= int64(2*len(answers)), fmt.Sprintf("%d calls", n)
	})
	if peak := peakMemory(t, site.Agent.PID()) >> 20; peak > 300 {
		t.Errorf("the agent took %d MiB", peak)
	}
	_ = hostile.Close()
	site.StartCentral()
	site.Import(parcels)
	site.Drain()
	site.Audit(rig.Allow{})
}
