package topic_test

import (
	"strings"
	"testing"

	"scanrelay/agent/intake/topic"
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
		f, err := topic.Parse(c.filter)
		if err != nil {
			t.Errorf("%s: %v", c.filter, err)
			continue
		}
		if f.Match(strings.Split(c.topic, "/")) != c.want {
			t.Errorf("%s matches %s: want %v", c.filter, c.topic, c.want)
		}
	}
	for _, bad := range []string{"", "a/#/b", "a+", "a/b#", "$share/g", "a\x00"} {
		if _, err := topic.Parse(bad); err == nil {
			t.Errorf("%q is taken for a filter", bad)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a/#", "a/b", true}, {"a/#", "a", true}, {"#", "a/+", true}, {"a/+", "a/b", true}, {"a/+", "a/#", false}, {"a/b", "a/+", false},
		{"a/+/c", "a/b/c", true}, {"a", "a/b", false}, {"#", "$SYS/x", false}, {"$share/g/#", "a", false},
	} {
		if got := topic.Covers(c.a, c.b); got != c.want {
			t.Errorf("%s covers %s: %v", c.a, c.b, got)
		}
	}
	if got := topic.Unshared("$share/g/a/b") + " " + topic.Unshared("a/b"); got != "a/b a/b" {
		t.Error(got)
	}
	match, err := topic.Matcher([]string{"a/#", "b"})
	if err != nil || !match("a/x") || !match("b") || match("c") {
		t.Errorf("a matcher: %v", err)
	}
	if _, err := topic.Matcher([]string{"a/#/b"}); err == nil {
		t.Error("a filter that is none was taken")
	}
}
