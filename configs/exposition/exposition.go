package exposition

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/VictoriaMetrics/metrics"
)

// A Table tells what each metric of a role is, by its name.
type Table map[string]Row

// A Row is a metric's type (counter, gauge, histogram) and its help text.
type Row struct{ Type, Help string }

// Read reads a table: a line for each metric with name, type and help text, spaced
// by blanks; empty lines and those that begin with # are left out.
func Read(text string) (Table, error) {
	t := make(Table)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		kind, help, _ := strings.Cut(strings.TrimSpace(rest), " ")
		help = strings.TrimSpace(help)
		switch _, twice := t[name]; {
		case help == "":
			return nil, fmt.Errorf("read metrics' table: %q is no name, type and help text", line)
		case kind != "counter" && kind != "gauge" && kind != "histogram":
			return nil, fmt.Errorf("read metrics' table: %s is of type %q, which is none", name, kind)
		case twice:
			return nil, fmt.Errorf("read metrics' table: %s stands twice", name)
		}
		t[name] = Row{kind, help}
	}
	return t, nil
}

// MustRead reads a table that is part of the program.
func MustRead(text string) Table {
	t, err := Read(text)
	if err != nil {
		panic(err)
	}
	return t
}

// process is what is told of every process, as Prometheus' own clients name it.
var process = MustRead(`
process_cpu_seconds_total      counter Processor time used, in seconds.
process_resident_memory_bytes  gauge   Memory in use, as the kernel counts it, in bytes.
process_virtual_memory_bytes   gauge   Address space in use, in bytes.
process_open_fds               gauge   Files and connections that are open.
process_max_fds                gauge   Files and connections that may be open.
process_start_time_seconds     gauge   When the process began, in unix seconds.
go_goroutines                  gauge   Goroutines there are.
go_memstats_heap_inuse_bytes   gauge   Memory of the heap in use, in bytes.
scanrelay_build_info           gauge   Always 1; its labels say which program this is.
`)

// Write writes the samples of a role, one a line as Prometheus wants them, and
// what is known of the process and of this version of the program.
func (t Table) Write(w io.Writer, samples []byte, version string) error {
	var own bytes.Buffer
	metrics.WriteProcessMetrics(&own)
	metrics.WriteFDMetrics(&own)
	metrics.WriteGaugeUint64(&own, fmt.Sprintf("scanrelay_build_info{version=%q,goversion=%q,goarch=%q}",
		version, runtime.Version(), runtime.GOARCH), 1)

	var out bytes.Buffer
	t.write(&out, families(samples, t))
	process.write(&out, slices.DeleteFunc(families(own.Bytes(), process), func(f family) bool { // more than anybody needs
		_, known := process[f.name]
		return !known
	}))
	_, err := w.Write(out.Bytes())
	return err
}

func (t Table) write(out *bytes.Buffer, all []family) {
	for _, f := range all {
		if row, ok := t[f.name]; ok {
			fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", f.name, row.Help, f.name, row.Type)
		}
		for _, line := range f.lines {
			out.Write(line)
		}
	}
}

// family is all samples of one metric.
type family struct {
	name  string
	lines [][]byte
}

// families sorts samples by the metric that they are of.
func families(samples []byte, t Table) []family {
	var all []family
	place := make(map[string]int)
	for line := range bytes.Lines(samples) {
		end := bytes.IndexAny(line, "{ ")
		if end <= 0 {
			continue
		}
		name := t.base(string(line[:end]))
		i, ok := place[name]
		if !ok {
			i = len(all)
			place[name], all = i, append(all, family{name: name})
		}
		all[i].lines = append(all[i].lines, line)
	}
	slices.SortFunc(all, func(a, b family) int { return strings.Compare(a.name, b.name) })
	return all
}

// base is the metric that a sample of this name is of: a histogram has several.
func (t Table) base(name string) string {
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, part); ok && t[base].Type == "histogram" {
			return base
		}
	}
	return name
}
