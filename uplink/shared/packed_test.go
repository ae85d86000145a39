package shared

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"scanrelay/agent/scan"
)

// Every field of waybill data comes back as it was, whatever stands in it.
func TestPackedWaybills(t *testing.T) {
	var w scan.Waybill
	if got := pack(&w).unpack(); got != w {
		t.Errorf("nothing became %+v", got)
	}
	w.CreateTime = -1 << 62
	for _, party := range []*scan.Party{&w.Sender, &w.Receiver} {
		v := reflect.ValueOf(party).Elem()
		for i := range v.NumField() {
			v.Field(i).SetString(strings.Repeat(fmt.Sprint("\x00", i, v.Type().Field(i).Name), 10*i))
		}
	}
	if got := pack(&w).unpack(); got != w {
		t.Error("what was packed came back as something else")
	}
}
