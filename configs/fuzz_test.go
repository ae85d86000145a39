package configs

import (
	"os"
	"strings"
	"testing"
)

// FuzzLoad: whatever a file and the environment hold, loading ends, and what it
// complains about names the file and is one line each.
func FuzzLoad(f *testing.F) {
	for _, file := range []string{"agent.example.yaml", "central.example.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "x")
	}
	for _, row := range agentProblems {
		f.Add([]byte(row.text), "tcp://h:1")
	}
	f.Add([]byte("a: &a [*a, *a]\nstations: {<<: *a}\ndepot: *a\n"), "[&x {<<: *x}]")
	for _, deep := range tooDeep {
		f.Add([]byte(deep), "")
	}
	f.Add([]byte("stations: &s\n  <<: *s\n  ? [x]\n"), "")
	f.Fuzz(func(t *testing.T, data []byte, env string) {
		const name = "c.yaml"
		environ := []string{"SCANRELAY_SOURCES=" + env, "SCANRELAY_MQTT_BROKER=" + env, "SCANRELAY_DEPOTS=" + env}
		_, agent := ReadAgent(name, data, environ)
		_, central := ReadCentral(name, data, environ)
		_, role := detectRole(name, data)
		for _, ps := range []Problems{agent, central, role} {
			for _, p := range ps {
				if p.Text == "" || !strings.HasPrefix(p.File, "environment") && p.File != name {
					t.Errorf("no good problem: %+v", p)
				}
			}
		}
	})
}
