package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	binary := flag.String("binary", "build/bin/scanrelay", "the program to measure")
	events := flag.Int("events", 100_000, "scans of the intake measurements")
	pushes := flag.Int("pushes", 20_000, "scans of the push measurement")
	waybills := flag.Int("waybills", 1_000_000, "waybills that the centre knows in the lookup measurement")
	only := flag.String("only", "", "measure only these, with commas between: disk, idle, intake, one, push, latency, wear, sink, quota, lookups, devices, puback, outbox")
	stored := flag.Int("stored", 1_000_000, "events in the outbox at the end of its measurement, up to 10,000,000")
	peers := flag.String("peers", "", "measure sink beside the peers' programs in this `folder`, too")
	open := flag.String("open-store", "", "internal: open the store in this `folder` and say what it took")
	steady := flag.Duration("steady", 20*time.Second, "length of the latency measurement")
	flag.Parse()
	if *open != "" {
		if err := openStore(*open); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, end := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	b := &bench{harness: &harness{ctx: ctx}, binary: *binary, events: *events, pushes: *pushes, waybills: *waybills, only: *only, steady: *steady, stored: *stored, peers: *peers}
	code := b.run()
	end()
	os.Exit(code)
}

// bench is one run with its figures.
type bench struct {
	*harness
	binary         string
	events, pushes int
	waybills       int
	only           string
	steady         time.Duration
	stored         int
	peers          string
	lock           sync.Mutex // of measurements that run at the same time
	figures        []figure
}

// figure is one line of the report.
type figure struct{ what, measured, target string }

func (b *bench) add(what, target, format string, args ...any) {
	f := figure{what, fmt.Sprintf(format, args...), target}
	b.figures = append(b.figures, f)
	fmt.Fprintf(os.Stderr, "  %s: %s\n", f.what, f.measured)
}

// run does all measurements and prints the report; the exit code is 1 if one
// could not be made.
func (b *bench) run() (code int) {
	path, err := filepath.Abs(b.binary)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	b.binary = path
	defer b.cleanup()
	for _, m := range []struct {
		name    string
		measure func()
	}{
		{"disk", b.disk}, {"idle", b.idle}, {"intake", b.intake}, {"one", b.oneConnection}, {"push", b.push},
		{"latency", b.latency}, {"wear", b.wear}, {"sink", b.sink}, {"quota", b.quota}, {"lookups", b.lookups}, {"devices", b.devicesIntake}, {"puback", b.acknowledgement}, {"outbox", b.outbox},
	} {
		if (b.only == "" || slices.Contains(strings.Split(b.only, ","), m.name)) && !b.part(m.measure) {
			code = 1
		}
	}
	b.report()
	return code
}

func (b *bench) report() {
	load, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	fmt.Printf("\n%s, load %s at the end\n\n", machine(), load)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "what\tmeasured\ttarget")
	fmt.Fprintln(w, "----\t--------\t------")
	for _, f := range b.figures {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.what, f.measured, f.target)
	}
	if err := w.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// machine names what the figures belong to.
func machine() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	cores, model := 0, "unknown processor"
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "processor":
			cores++
		case "model name", "Model":
			model = strings.TrimSpace(value)
		}
	}
	kernel := strings.TrimSpace(read("/proc/sys/kernel/osrelease"))
	return fmt.Sprintf("%s: %d x %s, Linux %s, %s", host, cores, model, kernel, time.Now().UTC().Format("2006-01-02"))
}

// read returns a file's text, "" if it cannot be read.
func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(text)
}
