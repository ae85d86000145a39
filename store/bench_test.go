package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/repair"
)

// benchEvent makes an event whose record takes about 400 bytes.
func benchEvent(n int64) scan.Event {
	e := newEvent(fmt.Sprintf("YT%013d", n), fmt.Sprintf("dev7-%010d", n), 1795000000+n/100)
	e.ActionMsg = scan.Text(strings.Repeat("快件到达 【杭州转运中心】", 8))
	return e
}

// written returns how many bytes this process gave to write calls.
func written(t testing.TB) int64 {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var n int64
		if _, err := fmt.Sscanf(line, "wchar: %d", &n); err == nil {
			return n
		}
	}
	t.Fatal("no wchar in /proc/self/io")
	return 0
}

// BenchmarkAppend: each producer waits for its commit before the next event.
func BenchmarkAppend(b *testing.B) {
	for _, producers := range []int{1, 20, 200} {
		b.Run(fmt.Sprintf("producers=%d", producers), func(b *testing.B) {
			o := open(b, b.TempDir(), Options{MaxSize: 16 << 30})
			var next atomic.Int64
			before := written(b)
			b.ResetTimer()
			var wg sync.WaitGroup
			for range producers {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						if _, err := o.Append(context.Background(), batch(benchEvent(n))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(written(b)-before)/float64(b.N), "B-written/event")
		})
	}
}

// BenchmarkWritten: bytes written per event, by events in a commit.
func BenchmarkWritten(b *testing.B) {
	for _, group := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			o := open(b, b.TempDir(), Options{MaxSize: 16 << 30})
			before := written(b)
			n := int64(0)
			for b.Loop() {
				events := make([]scan.Event, group)
				for i := range events {
					n++
					events[i] = benchEvent(n)
				}
				mustAppend(b, o, events...)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(written(b)-before)/float64(n), "B-written/event")
		})
	}
}

// fill stores n events, in large batches, and lets the centre have them.
func fill(b testing.TB, o *Outbox, n int) {
	for next, end := o.Counts().NextSeq, o.Counts().NextSeq+uint64(n); next < end; {
		events := make([]scan.Event, min(500, end-next))
		for j := range events {
			events[j] = benchEvent(int64(next))
			next++
		}
		mustAppend(b, o, events...)
	}
	syncAll(b, o)
}

// BenchmarkStart: opening a store with events that wait, or are finished and
// retained; by a checkpoint, without one, and without the identities of the latest
// 262,144, which are read to recognise duplicates.
func BenchmarkStart(b *testing.B) {
	for _, world := range []struct {
		n    int
		ends bool
	}{{100_000, true}, {1_000_000, true}, {1_000_000, false}} {
		dir := b.TempDir()
		opts := Options{MaxSize: 2 << 30}
		o := open(b, dir, opts)
		for left := world.n; left > 0; left -= 20_000 {
			fill(b, o, min(20_000, left))
			if world.ends {
				pushAll(b, o)
			}
		}
		closeChecked(b, o)
		for _, way := range []string{"checkpoint", "none", "no identities"} {
			b.Run(fmt.Sprintf("events=%d/finished=%t/%s", world.n, world.ends, way), func(b *testing.B) {
				opts := opts
				if way == "no identities" {
					opts.identities = 1
				}
				var spent time.Duration
				for b.Loop() {
					if way == "none" {
						if err := os.Remove(filepath.Join(dir, checkpointName)); err != nil {
							b.Fatal(err)
						}
					}
					before, start := heapBytes(), processorTime(b)
					o, err := Open(dir, opts)
					if err != nil {
						b.Fatal(err)
					}
					spent += processorTime(b) - start
					b.ReportMetric(float64(heapBytes()-before)/1e6, "MB-heap")
					if err := o.Close(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(spent.Seconds()/float64(b.N), "processor-s/open")
				b.ReportMetric(float64(durable.Size(filepath.Join(dir, checkpointName))), "B-checkpoint")
			})
		}
	}
}

// processorTime is what this process has taken of it.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkWay: the whole way of an event through the outbox, with a commit for
// groups of events and one for groups of outcomes.
func BenchmarkWay(b *testing.B) {
	for _, group := range []int{10, 100} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			o := open(b, b.TempDir(), Options{MaxSize: 16 << 30})
			before := written(b)
			n := int64(0)
			for b.Loop() {
				events := make([]scan.Event, group)
				for i := range events {
					n++
					events[i] = benchEvent(n)
				}
				mustAppend(b, o, events...)
				syncAll(b, o)
				settle(b, o, event.Pushed, mustLease(b, o, group)...)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(written(b)-before)/float64(n), "B-written/event")
		})
	}
}

// BenchmarkDrain: lease and settle what waits, 64 at a time.
func BenchmarkDrain(b *testing.B) {
	o := open(b, b.TempDir(), Options{MaxSize: 16 << 30})
	fill(b, o, b.N)
	b.ResetTimer()
	for left := b.N; left > 0; {
		r := mustLease(b, o, min(64, left))
		settle(b, o, event.Pushed, r...)
		left -= len(r)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkOutline: the look at the newest segment before it is opened for
// writing, when it is as full as it gets, beside bbolt's own look at its pages.
func BenchmarkOutline(b *testing.B) {
	dir := b.TempDir()
	o := open(b, dir, Options{MaxSize: 16 << 30})
	fill(b, o, 290_000)
	s := newest(o)
	nextSeq, used := o.Counts().NextSeq, o.Counts().LiveBytes
	if err := o.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	var ours, bbolts time.Duration
	for b.Loop() {
		start := time.Now()
		if err := repair.CheckOutline(s.Path, s.First, nextSeq); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(start)
		start = time.Now()
		db, err := boltpage.OpenDB(s.Path, format.SizeFor(16<<30))
		if err != nil {
			b.Fatal(err)
		}
		bbolts += time.Since(start)
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(ours.Seconds()/float64(b.N)*1000, "ms-outline")
	b.ReportMetric(bbolts.Seconds()/float64(b.N)*1000, "ms-bbolt-open")
	b.ReportMetric(float64(used)/(1<<20), "MiB")
}
