package topic

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Filter is an MQTT topic filter, split into its levels. A shared subscription
// ($share/<group>/…) matches as its filter does.
type Filter []string

// Unshared is a filter outside of its group, in which it would take messages away
// from others.
func Unshared(filter string) string {
	if rest, ok := strings.CutPrefix(filter, "$share/"); ok {
		_, filter, _ = strings.Cut(rest, "/")
	}
	return filter
}

// Parse reads a filter. The error says what is wrong with it as a predicate.
func Parse(s string) (Filter, error) {
	bare := Unshared(s)
	switch {
	case bare == "" && s != "":
		return nil, errors.New("is no topic filter: a shared one is written $share/<group>/<filter>")
	case bare == "" || len(s) > 65535 || strings.ContainsRune(s, 0) || !utf8.ValidString(s):
		return nil, errors.New("is no topic filter")
	}
	levels := strings.Split(bare, "/")
	for i, level := range levels {
		switch {
		case strings.Contains(level, "#") && (level != "#" || i != len(levels)-1):
			return nil, errors.New("# must be the whole last level of a topic filter")
		case strings.Contains(level, "+") && level != "+":
			return nil, errors.New("+ must be a whole level of a topic filter")
		}
	}
	return levels, nil
}

// Match reports whether the filter matches a topic, given by its levels. A
// wildcard in the first level matches no topic that begins with $.
func (f Filter) Match(topic []string) bool {
	if len(topic) > 0 && strings.HasPrefix(topic[0], "$") && (f[0] == "+" || f[0] == "#") {
		return false
	}
	for i, level := range f {
		if level == "#" {
			return true
		}
		if i >= len(topic) || level != "+" && level != topic[i] {
			return false
		}
	}
	return len(f) == len(topic)
}

// Matcher returns a function that reports whether one of the filters matches a
// topic.
func Matcher(filters []string) (match func(topic string) bool, err error) {
	all := make([]Filter, len(filters))
	for i, text := range filters {
		if all[i], err = Parse(text); err != nil {
			return nil, errors.New(text + " " + err.Error())
		}
	}
	return func(topic string) bool {
		levels := strings.Split(topic, "/")
		return slices.ContainsFunc(all, func(f Filter) bool { return f.Match(levels) })
	}, nil
}

// Covers reports whether every topic that b matches is matched by a.
func Covers(a, b string) bool {
	if strings.HasPrefix(a, "$") || strings.HasPrefix(b, "$") {
		return false
	}
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for i, level := range as {
		switch {
		case level == "#":
			return true
		case i >= len(bs) || bs[i] == "#":
			return false
		case level != "+" && level != bs[i]:
			return false
		}
	}
	return len(as) == len(bs)
}
