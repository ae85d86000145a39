package fake

import (
	"testing"
	"time"
)

func TestSharesRepeat(t *testing.T) {
	run := func(seed uint64) (codes []int) {
		b := newFaultBook(Script{Seed: seed, Faults: []Fault{{API: PathNotify, Share: 0.3, Errcode: -1}, {API: "*", Share: 0.1, Errcode: 45011}}})
		for range 1000 {
			b.next(UserQuery) // others do not disturb
			codes = append(codes, b.next(PathNotify).before.Errcode)
		}
		return codes
	}
	a, b, c := run(1), run(1), run(2)
	hits, same := 0, 0
	for i := range a {
		if a[i] != b[i] {
			t.Fatal("the same seed gave another course")
		}
		if a[i] == -1 {
			hits++
		}
		if a[i] == c[i] {
			same++
		}
	}
	if hits < 250 || hits > 350 || same == len(a) {
		t.Errorf("%d of 1000 hit, want about 300; %d same with another seed", hits, same)
	}
}

func TestDelaysAddUp(t *testing.T) {
	b := newFaultBook(Script{Faults: []Fault{
		{API: PathNotify, Delay: time.Second}, {API: PathNotify, Delay: time.Second, After: true}, {API: PathNotify, Delay: time.Second, Errcode: -1}}})
	if p := b.next(PathNotify); p.before.Delay != 2*time.Second || p.after.Delay != time.Second || p.before.Errcode != -1 {
		t.Errorf("%+v", p)
	}
}
