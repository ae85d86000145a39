package monitoring

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"scanrelay/configs/exposition"
)

// TestAlarms: each alarm fires for what is wrong, and not beside it.
func TestAlarms(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "agent.rules.yaml", "central.rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	rung := read(t, "rules_test.yaml")
	for _, role := range []string{"agent", "central"} {
		for _, alarm := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(read(t, role+".rules.yaml"), -1) {
			if !strings.Contains(rung, `alertname="`+alarm[1]+`", instance="bad"`) {
				t.Errorf("no test lets %s fire", alarm[1])
			}
		}
	}
}

var metric = regexp.MustCompile(`\bscanrelay_[a-z0-9_]+`)

// TestMetricsThatAreAskedFor: alarms and dashboards ask for what their role tells.
func TestMetricsThatAreAskedFor(t *testing.T) {
	for role, room := range map[string]string{"agent": "agent", "central": "uplink/central"} {
		table, err := exposition.Read(read(t, filepath.Join("../..", room, "metrics.txt")))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{role + ".rules.yaml", role + ".dashboard.json"} {
			text := read(t, file)
			if strings.HasSuffix(file, ".json") && !json.Valid([]byte(text)) {
				t.Errorf("%s is no JSON", file)
			}
			names := metric.FindAllString(text, -1)
			if len(names) < 10 {
				t.Errorf("%s asks for %d metrics", file, len(names))
			}
			for _, name := range names {
				base, bucket := strings.CutSuffix(name, "_bucket")
				if row, told := table[base]; name != "scanrelay_build_info" && (!told || bucket != (row.Type == "histogram")) {
					t.Errorf("%s asks for %s, which %s does not tell", file, name, role)
				}
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
