package topic

import (
	"strings"
	"testing"
)

func TestTopics(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/c", false}, {"a/+", "a/b", true}, {"a/+", "a/b/c", false}, {"a/#", "a", true},
		{"a/#", "a/b/c", true}, {"#", "a/b", true}, {"#", "$SYS/x", false}, {"+/x", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true},
		{"+", "", true}, {"a/+/c", "a//c", true}, {"$share/g/a/+", "a/b", true}, {"/a", "/a", true}, {"a", "a/", false},
	} {
		f, err := Parse(c.filter)
		if err != nil {
			t.Errorf("%s: %v", c.filter, err)
			continue
		}
		if f.Match(strings.Split(c.topic, "/")) != c.want {
			t.Errorf("%s matches %s: want %v", c.filter, c.topic, c.want)
		}
	}
	for _, bad := range []string{"", "a/#/b", "a+", "a/b#", "$share/g", "a\x00"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q is taken for a filter", bad)
		}
	}
}
