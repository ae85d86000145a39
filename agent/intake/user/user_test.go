package user

import (
	"strings"
	"testing"
)

// All that is wrong with a list is said at once, each with its key and no password.
func TestProblems(t *testing.T) {
	_, problems := Compile([]User{{Password: "hidden"}, {Username: "a"}, {Username: "a", Password: "x", Publish: []string{"ok/#", "a+"}}})
	var keys []string
	for _, p := range problems {
		keys = append(keys, strings.TrimPrefix(p.Key, "mqtt.embedded.users"))
	}
	if got := strings.Join(keys, " "); got != "[0].username [1].password [2].username [2].publish[1]" {
		t.Errorf("problems with %s", got)
	}
	if err := problems.Err(); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Error(err)
	}
}

func TestRights(t *testing.T) {
	l, problems := Compile([]User{{Username: "gate", Password: "p", Publish: []string{"scans/+", "raw/#"}}, {Username: "any", Password: "q"}})
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		name, topic string
		may         bool
	}{
		{"gate", "scans/1", true}, {"gate", "scans/1/2", false}, {"gate", "raw", true}, {"any", "x", true}, {"nobody", "scans/1", false}, {"", "x", false},
	} {
		if l.MayPublish(c.name, c.topic) != c.may {
			t.Errorf("%s to %s: %t", c.name, c.topic, !c.may)
		}
	}
	for _, c := range []struct {
		name, password string
		good           bool
	}{
		{"gate", "p", true}, {"gate", "q", false}, {"gate", "", false}, {"nobody", "", false}, {"nobody", "p", false},
	} {
		if l.Accepts(c.name, Sum([]byte(c.password))) != c.good {
			t.Errorf("%s with %q: %t", c.name, c.password, !c.good)
		}
	}
	if !(List{}).MayPublish("", "x") {
		t.Error("without users not everybody may publish")
	}
}
