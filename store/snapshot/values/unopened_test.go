package values

import (
	"strings"
	"testing"
	"time"

	"scanrelay/store/masterkey"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
)

// TestUnopened: values are counted by the data key that is missing, however many are.
func TestUnopened(t *testing.T) {
	var last uint32
	u := Unopened{Has: func(number uint32) bool { return number == last }}
	st := &judge.State{Nodes: []judge.Node{{}}}
	st.Nodes[0].ActionMsg = "x"
	var value []byte
	for range 3 * maxUnopened {
		ring := datakey.New()
		if err := ring.Begin([]masterkey.Key{masterkey.Random()}, make([]byte, 32), time.Now()); err != nil {
			t.Fatal(err)
		}
		value, last = EncodeState(ring, []byte("YT1"), st), ring.Entries()[1].Number
		if KeyNumber("waybills", value) != last || KeyNumber("depots", value) != 0 || KeyNumber("log", value) != 0 {
			t.Fatal("another key")
		}
		u.Add("waybills", value) // is there
		last = 0
		u.Add("waybills", value)
		u.Add("waybills", value[:5])
	}
	u.Add("waybills", value)
	var told []string
	u.Tell(func(what string) { told = append(told, what) })
	if len(told) != maxUnopened+1 || !strings.Contains(told[0], "under other data keys") || !strings.Contains(told[1], "values are encrypted under data key") {
		t.Errorf("%d lines: %q", len(told), told)
	}
}
