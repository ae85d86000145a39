package control

import (
	"context"
	"strings"
	"testing"

	"scanrelay/store"
)

// An agent that has its store open and does not answer yet is not called one that
// does not run.
func TestAgentThatStarts(t *testing.T) {
	dir := t.TempDir()
	o, err := store.Open(dir, store.Options{MaxSize: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if _, err := Open(t.Context(), dir, "hz-01", "dev"); err == nil || !strings.Contains(err.Error(), "starting or ending") {
		t.Errorf("it says %v", err)
	}
}
