package control_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/control"
	"scanrelay/store"
)

// TestReadmeExplainsEveryMetric: the agent's page for operators names what
// status tells as metrics.
func TestReadmeExplainsEveryMetric(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	control.WriteMetrics(&out, control.Status{}, store.Counts{}, time.Now())
	for line := range strings.Lines(out.String()) {
		name, _, _ := strings.Cut(line, " ")
		name, _, _ = strings.Cut(name, "{")
		name = strings.TrimPrefix(name, "scanrelay_")
		if !bytes.Contains(readme, []byte("`"+name+"`")) && !bytes.Contains(readme, []byte("`"+name+"{")) {
			t.Errorf("agent/README.md does not explain %s", name)
		}
	}
}
