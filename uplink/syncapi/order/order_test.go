package order

import (
	"errors"
	"strings"
	"testing"
)

// TestBounded: what a centre sends beyond the bounds is left out, and its words are one line.
func TestBounded(t *testing.T) {
	list := []Order{
		{ID: "a", Do: Discard, Reason: " returned\nto 李四 " + strings.Repeat("x", 2*MaxText)}, {Do: Retry}, {ID: strings.Repeat("x", maxID+1)},
		{ID: "b", Events: make([]string, MaxEvents+1)}, {ID: "c", Events: make([]string, MaxEvents)},
	}
	kept := Bounded(list)
	if len(kept) != 2 || kept[0].ID != "a" || kept[1].ID != "c" || !strings.HasPrefix(kept[0].Reason, "returned to 李四 x") || len([]rune(kept[0].Reason)) > MaxText+1 {
		t.Errorf("%+v", kept)
	}
	if n := len(Bounded(make([]Order, 10*MaxOpen))); n != 0 {
		t.Errorf("%d orders without a name", n)
	}
	many := make([]Order, 10*MaxOpen)
	for i := range many {
		many[i].ID = "x"
	}
	if n := len(Bounded(many)); n != MaxOpen {
		t.Errorf("%d of many", n)
	}
	if w := Words(errors.New("李四\n13800138000 is away").Error()); strings.Contains(w, "李四") || strings.Contains(w, "138001") || strings.Contains(w, "\n") {
		t.Errorf("%q", w)
	}
}
