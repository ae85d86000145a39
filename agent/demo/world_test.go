package demo

import (
	"reflect"
	"regexp"
	"testing"
	"time"

	"scanrelay/agent/scan"
)

func TestParcels(t *testing.T) {
	now := time.Now().Unix()
	list := makeParcels(500, 1, now)
	if !reflect.DeepEqual(list, makeParcels(500, 1, now)) {
		t.Error("the same seed made other parcels")
	}
	seen, form := map[key]bool{}, regexp.MustCompile(`^(YT|JT|SF)[0-9]{13}$`)
	bound, devices := 0, makeDevices()
	for _, p := range list {
		if !form.MatchString(p.waybill) {
			t.Errorf("%s is no waybill number", p.waybill)
		}
		data := p.data.Scan()
		if err := data.Validate(); err != nil {
			t.Errorf("%s: %v", p.waybill, err)
		}
		if !unbound(p.data.Receiver.Phone) {
			bound++
		}
		for _, s := range p.stops {
			if seen[s.key] || devices[s.device] == nil || scan.ActionType(s.action).Check() != nil {
				t.Errorf("%s: stop %d on %s is there twice, unknown or nowhere", p.waybill, s.action, s.device)
			}
			seen[s.key] = true
		}
	}
	if bound < 350 || bound == 500 {
		t.Errorf("%d of 500 phones are bound, want most and not all", bound)
	}
}

// Whatever is asked for, all parcels must have begun early enough to end in the
// duration, and the cut must lie within it where it can.
func TestPaceFits(t *testing.T) {
	for _, d := range []time.Duration{2 * time.Second, 20 * time.Second, 10 * time.Minute} {
		for _, n := range []int{1, 200, 100_000} {
			o := Options{Duration: d, Parcels: n, Offline: d / 2}
			p := o.pace()
			if end := p.every*time.Duration(n) + p.travel; end > d {
				t.Errorf("%v, %d parcels: the last ends after %v", d, n, end)
			}
			if end := o.cutAt() + o.Offline; end > d || o.cutAt() <= 0 {
				t.Errorf("%v: cut at %v until %v", d, o.cutAt(), end)
			}
		}
	}
	if p := (Options{Parcels: 100_000}).pace(); p.every*100_000 > calmTotal {
		t.Errorf("without a duration 100,000 parcels take %v", p.every*100_000)
	}
}
