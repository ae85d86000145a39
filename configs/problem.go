package configs

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File string // the file, or "environment"
	Line int    // of the key, or of the key above a missing one; 0 in the environment
	Key  string // dotted path; "" for the file as a whole
	Text string // what is wrong and what to do
	// Warning: the configuration works, but perhaps not as it was meant.
	Warning bool
}

// String returns file:line: key: what is wrong.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is all that is wrong with a configuration, in file order.
type Problems []Problem

// Failed reports whether any of them is more than a warning.
func (ps Problems) Failed() bool { return len(ps.Errors()) > 0 }

// Errors returns those that make the configuration unusable.
func (ps Problems) Errors() Problems { return ps.only(false) }

// Warnings returns the others.
func (ps Problems) Warnings() Problems { return ps.only(true) }

func (ps Problems) only(warning bool) (out Problems) {
	for _, p := range ps {
		if p.Warning == warning {
			out = append(out, p)
		}
	}
	return out
}

// String returns one line for each.
func (ps Problems) String() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sort puts the file's problems first, in the order of its lines, then those of
// files in sources.d.
func (ps Problems) sort(file string) {
	further := func(p Problem) string {
		if p.File == file || filepath.Base(filepath.Dir(p.File)) != SourcesDir {
			return ""
		}
		return p.File
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(strings.Compare(further(a), further(b)),
			cmp.Compare(uint(a.Line-1), uint(b.Line-1)), strings.Compare(a.Key, b.Key)) // 0 comes last
	})
}
