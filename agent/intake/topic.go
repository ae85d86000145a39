package intake

import (
	"errors"
	"slices"
	"strings"
)

// filter is an MQTT topic filter, split into its levels. A shared subscription
// ($share/<group>/…) matches as its filter does.
type filter []string

var errFilter = errors.New("not an MQTT topic filter: levels are separated by /, + stands alone in a level, # alone in the last one")

func parseFilter(s string) (filter, error) {
	if rest, ok := strings.CutPrefix(s, "$share/"); ok {
		if _, s, ok = strings.Cut(rest, "/"); !ok {
			return nil, errFilter
		}
	}
	if s == "" || len(s) > 65535 || strings.ContainsRune(s, 0) {
		return nil, errFilter
	}
	levels := strings.Split(s, "/")
	for i, l := range levels {
		if len(l) > 1 && strings.ContainsAny(l, "+#") || l == "#" && i != len(levels)-1 {
			return nil, errFilter
		}
	}
	return levels, nil
}

// match reports whether the filter matches a topic, given by its levels. A
// wildcard in the first level matches no topic that begins with $.
func (f filter) match(topic []string) bool {
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

// Filters returns a function that reports whether one of the MQTT topic filters
// matches a topic.
func Filters(texts []string) (match func(topic string) bool, err error) {
	var all []filter
	for _, text := range texts {
		f, err := parseFilter(text)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return func(topic string) bool {
		levels := strings.Split(topic, "/")
		return slices.ContainsFunc(all, func(f filter) bool { return f.match(levels) })
	}, nil
}
