package limit

import (
	"fmt"
	"sync"
	"testing"
)

// TestPlaces: nobody takes more than his own, all not more than there are, and what is given
// back can be taken again; nothing is remembered of who has none.
func TestPlaces(t *testing.T) {
	p := NewPlaces(3, 2)
	var leave []func()
	for _, c := range []struct {
		who  string
		want bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"b", false}, {"c", false}} {
		l, ok := p.Take(c.who)
		if ok != c.want {
			t.Errorf("%s takes one: %v", c.who, ok)
		}
		if ok {
			leave = append(leave, l)
		}
	}
	for _, l := range leave {
		l()
	}
	if p.Taken() != 0 || len(p.taken) != 0 {
		t.Errorf("%d are taken, %v", p.Taken(), p.taken)
	}
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			if l, ok := p.Take(fmt.Sprint(i % 4)); ok {
				l()
			}
		})
	}
	all.Wait()
	if _, ok := p.Take("c"); !ok || p.Taken() != 1 {
		t.Errorf("afterwards %d are taken", p.Taken())
	}
}
