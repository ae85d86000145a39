package sparkplug

import (
	"slices"
	"strconv"
	"strings"

	"scanrelay/agent/intake/decode"
)

// Tree resolves a payload's aliases and returns it as one object:
//
//	{"group", "type", "node", "device", "timestamp", "seq",
//	 "metrics": {name: value}, "timestamps": {name: unix milliseconds}}
//
// and, where a metric occurs more than once, as devices send what they kept
// while they were offline, one such object per moment in the order sent. missing
// is an alias that the birth does not know. ErrTooLarge: the names that its aliases
// stand for would take too much.
func (p Payload) Tree(t Topic, b Birth) (whole decode.Node, reads []decode.Node, missing string, err error) {
	var all, kept, now []named
	room := newRoom()
	for _, m := range p.Metrics {
		name, datatype := m.Name, uint32(0)
		if known, ok := b.Aliases[m.Alias]; m.HasAlias && ok {
			datatype = known.Datatype
			if name == "" {
				if name = known.Name; !room.take(0, int64(len(name))) {
					return whole, nil, "", ErrTooLarge
				}
			}
		}
		if name == "" {
			if missing == "" {
				missing = strconv.FormatUint(m.Alias, 10)
			}
			continue
		}
		at := m.Timestamp
		if at == 0 && !m.Historical {
			at = p.Timestamp // when it was sent, which of what was kept says nothing
		}
		one := named{name, room.value(&m, datatype, 0), at}
		if all = append(all, one); m.Historical {
			kept = append(kept, one)
		} else {
			now = append(now, one)
		}
	}
	whole = p.object(t, append(kept, now...)) // of two with one name the last counts: what is now
	for _, group := range moments(all) {
		reads = append(reads, p.object(t, group))
	}
	return whole, reads, missing, nil
}

type named struct {
	name  string
	value decode.Node
	at    uint64 // unix milliseconds; 0: not known
}

// moments groups metrics by their time if one of them occurs twice; else there
// is one group.
func moments(all []named) [][]named {
	seen := make(map[string]bool, len(all))
	repeated := false
	for _, m := range all {
		repeated = repeated || seen[m.name]
		seen[m.name] = true
	}
	if !repeated {
		return [][]named{all}
	}
	var groups [][]named
	place := make(map[uint64]int)
	for _, m := range all {
		i, ok := place[m.at]
		if !ok {
			i = len(groups)
			place[m.at] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], m)
	}
	return groups
}

func (p Payload) object(t Topic, metrics []named) decode.Node {
	var names []string
	var values, times []decode.Node
	var timed []string
	for _, m := range metrics {
		names, values = append(names, m.name), append(values, m.value)
		if m.at != 0 {
			timed, times = append(timed, m.name), append(times, decode.NewNumber(strconv.FormatUint(m.at, 10)))
		}
	}
	keys := []string{"group", "type", "node", "device", "seq", "metrics", "timestamps"}
	kids := []decode.Node{
		decode.NewString(t.Group), decode.NewString(t.Type), decode.NewString(t.Node), decode.NewString(t.Device),
		decode.NewNumber(strconv.FormatUint(p.Seq, 10)), decode.NewObject(names, values), decode.NewObject(timed, times),
	}
	if p.Timestamp != 0 {
		keys, kids = append(keys, "timestamp"), append(kids, decode.NewNumber(strconv.FormatUint(p.Timestamp, 10)))
	}
	return decode.NewObject(keys, kids)
}

// Find follows a pointer in what Tree returned. A metric's name may be
// written with its slashes as they are: /Scan/Code, /Scan~1Code and
// /metrics/Scan~1Code are the same; /timestamps/Scan/Code is its time, and
// /Reader/Scan/Code also the metric Scan/Code in the template Reader.
func Find(n *decode.Node, p decode.Pointer) (*decode.Node, bool) {
	if found, ok := n.Find(p); ok {
		return found, true
	}
	within := "metrics"
	if len(p) > 1 && (p[0] == "metrics" || p[0] == "timestamps") {
		within, p = p[0], p[1:]
	}
	if members, ok := n.Member(within); ok {
		return findNamed(members, p)
	}
	return nil, false
}

// findNamed follows a pointer whose tokens may be parts of names with slashes; the
// longest name counts.
func findNamed(n *decode.Node, p decode.Pointer) (*decode.Node, bool) {
	for i := len(p); i > 0; i-- {
		member, ok := n.Member(strings.Join(p[:i], "/"))
		if !ok {
			continue
		}
		if i == len(p) {
			return member, true
		}
		if found, ok := member.Find(p[i:]); ok {
			return found, true
		}
		if found, ok := findNamed(member, p[i:]); ok {
			return found, true
		}
	}
	return nil, false
}

// Stuck returns the value on a pointer's way into which it cannot go, as
// decode.Node has it: a metric that is neither a template nor nothing.
func Stuck(n *decode.Node, p decode.Pointer) (stuck *decode.Node, at decode.Pointer) {
	metrics, ok := n.Member("metrics")
	if !ok {
		return nil, nil
	}
	if len(p) > 1 && p[0] == "metrics" {
		p = p[1:]
	}
	for i := len(p); i > 0; i-- {
		if member, ok := metrics.Member(strings.Join(p[:i], "/")); ok {
			if stuck, at = member.Stuck(p[i:]); stuck != nil {
				return stuck, append(p[:i:i], at...)
			}
		}
	}
	return nil, nil
}

// Expand returns the values that a pointer with * in it leads to, as decode.Node
// has it; before the first * it is Find's.
func Expand(n *decode.Node, p decode.Pointer) []decode.Element {
	star := slices.Index(p, "*")
	if star < 0 {
		return n.Expand(p)
	}
	base, ok := Find(n, p[:star])
	if !ok {
		return nil
	}
	return base.Expand(p[star:])
}

// Empty reports whether a pointer leads to an empty array, as decode.Node has it.
func Empty(n *decode.Node, p decode.Pointer) bool {
	star := slices.Index(p, "*")
	if star < 0 {
		star = len(p)
	}
	base, ok := Find(n, p[:star])
	return ok && base.Empty(p[star:], false)
}
