package central_test

import (
	"testing"

	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/syncapi"
)

// TestProcessNamesDeclarations: what an answer calls the process stays as long as
// what was declared is known, whoever answers: depots declare all again to another.
func TestProcessNamesDeclarations(t *testing.T) {
	b := centraltest.New(t, nil)
	first := b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 1}).Process
	if next := b.Sync(centraltest.TokenSH, syncapi.Request{NextSeq: 1}).Process; next != first || first == "" {
		t.Errorf("process %q, then %q", first, next)
	}
	if other := centraltest.New(t, nil).Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 1}).Process; other == first {
		t.Error("a centre that knows of no declaration has the same name")
	}
}
