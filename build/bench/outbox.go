package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store"
)

// outboxSize is room for all that is measured.
const outboxSize = 32 << 30

// outbox measures the store by itself, in this process and beside plain bbolt,
// and what it takes to open it with much waiting, in a process of its own.
func (b *bench) outbox() {
	for _, producers := range []int{1, 20, 200} {
		b.appends(producers)
	}
	for _, group := range []int{1, 10, 100} {
		b.groups(group)
	}
	b.growth()
}

// outboxEvent is an event whose record takes about 400 bytes.
func outboxEvent(n int64) scan.Event {
	at := 1795000000 + n/100
	return scan.Event{
		EventID: fmt.Sprintf("dev7-%010d", n), Waybill: scan.WaybillID(fmt.Sprintf("YT%013d", n)), ActionType: 200001, ActionTime: at,
		ActionMsg: scan.Text(strings.Repeat("快件到达 【杭州转运中心】", 8)), DeviceID: "gate-3", ReceivedAt: time.Unix(at, 0),
	}
}

func (b *bench) must(what string, err error) {
	if err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

func (b *bench) openOutbox(dir string) *store.Outbox {
	o, err := store.Open(dir, store.Options{MaxSize: outboxSize})
	b.must("open outbox", err)
	return o
}

// produce lets producers store n events in all, each waiting for its commit
// before its next, and returns events a second.
func (b *bench) produce(producers, n int, put func(n int64) error) float64 {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	begin := time.Now()
	for range producers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n) && failed.Load() == nil; i = next.Add(1) {
				if err := put(i); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		b.Fatalf("store: %v", *err)
	}
	return rate(n, time.Since(begin))
}

// appends compares with bbolt's Batch and with one commit for each event, the
// same records in the same run.
func (b *bench) appends(producers int) {
	n := min(b.events, 500*producers+1500)
	o := b.openOutbox(b.TempDir())
	ours := b.produce(producers, n, func(i int64) error {
		_, err := o.Append(b.ctx, scan.Batch{Events: []scan.Event{outboxEvent(i)}})
		return err
	})
	b.must("close outbox", o.Close(b.ctx))
	batch := b.plain(producers, n, (*bolt.DB).Batch)
	single := b.plain(producers, n, (*bolt.DB).Update)
	target := "above both"
	if producers == 1 {
		target = "near a commit each"
	}
	b.add(fmt.Sprintf("outbox, %d producers, each waits for its commit", producers), target,
		"%.0f events/s; bbolt Batch %.0f, a commit each %.0f", ours, batch, single)
}

func (b *bench) plain(producers, n int, commit func(*bolt.DB, func(*bolt.Tx) error) error) float64 {
	db, err := bolt.Open(b.TempDir()+"/plain.db", 0o600, nil)
	b.must("open bbolt", err)
	b.must("make bucket", db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("b")); return err }))
	value := make([]byte, 400)
	got := b.produce(producers, n, func(i int64) error {
		return commit(db, func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("b")).Put(binary.BigEndian.AppendUint64(nil, uint64(i)), value)
		})
	})
	b.must("close bbolt", db.Close())
	return got
}

// groups measures what is written for each event, by events in a commit.
func (b *bench) groups(group int) {
	o := b.openOutbox(b.TempDir())
	self := proc{os.Getpid()}
	commits := min(1000, b.events/group)
	before, begin := self.value("io", "wchar"), time.Now()
	b.storeAll(o, 0, commits*group, group)
	written, took := self.value("io", "wchar")-before, time.Since(begin)
	b.must("close outbox", o.Close(b.ctx))
	target := map[int]string{10: "<= 6,000 B", 100: "<= 1,000 B"}[group]
	b.add(fmt.Sprintf("outbox, %d events a commit", group), target, "%d B written an event, %.0f events/s", written/int64(commits*group), rate(commits*group, took))
}

// storeAll stores events from number from+1 to n.
func (b *bench) storeAll(o *store.Outbox, from, n, group int) {
	for i := from; i < n; i += group {
		events := make([]scan.Event, min(group, n-i))
		for j := range events {
			events[j] = outboxEvent(int64(i + j + 1))
		}
		_, err := o.Append(b.ctx, scan.Batch{Events: events})
		b.must("append", err)
	}
}

// Each step of growth is measured in slices; their median stands for it, since
// a machine with other work, or a segment begun in between, spoils some.
const (
	costSlices = 11
	costSlice  = 2000
)

// growth fills one outbox, by steps of ten, all of it waiting: the cost of an
// event at each, and what a start with so much waiting takes.
func (b *bench) growth() {
	dir := b.TempDir()
	b.must("close outbox", b.openOutbox(dir).Close(b.ctx))
	b.opening(dir, 0)
	stored := 0
	first := 0.0
	for _, n := range b.steps() {
		o := b.openOutbox(dir)
		b.storeAll(o, stored, n, 500)
		cpu, wall := b.costs(o, n)
		stored = n + costSlices*costSlice
		b.must("synced", o.Synced(uint64(stored), nil, nil))
		b.must("close outbox", o.Close(b.ctx))
		if first == 0 {
			first = cpu
		}
		b.add(fmt.Sprintf("outbox, an event with %d stored", n), "flat within 20 %", "%.1f µs of processor, %+.0f %%; %.1f µs in all", cpu, (cpu/first-1)*100, wall)
		b.opening(dir, stored)
	}
	b.draining(dir, stored)
}

// costs are the microseconds, of the processor and in all, that it takes to
// store one event more, 100 a commit.
func (b *bench) costs(o *store.Outbox, n int) (cpu, wall float64) {
	var cpus, walls []float64
	for range costSlices {
		begin, used := time.Now(), processor()
		b.storeAll(o, n, n+costSlice, 100)
		walls = append(walls, float64(time.Since(begin).Microseconds())/costSlice)
		cpus = append(cpus, float64((processor()-used).Microseconds())/costSlice)
		n += costSlice
	}
	sort.Float64s(cpus)
	sort.Float64s(walls)
	return cpus[costSlices/2], walls[costSlices/2]
}

// processor is the time that this process has computed so far.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// draining pushes, as far as the store is concerned, a part of what waits.
func (b *bench) draining(dir string, waiting int) {
	o := b.openOutbox(dir)
	n, left := min(waiting, 200_000), 0
	begin := time.Now()
	for left = n; left > 0; {
		recs, err := o.Lease(min(64, left), time.Minute)
		b.must("lease", err)
		ended := make([]store.Settlement, len(recs))
		for i, r := range recs {
			ended[i] = store.Settlement{Seq: r.ID.Seq, Lease: r.Lease, Outcome: store.Pushed, Attempts: 1}
		}
		b.must("settle", o.Settle(b.ctx, ended))
		left -= len(recs)
	}
	took := time.Since(begin)
	b.must("close outbox", o.Close(b.ctx))
	b.add(fmt.Sprintf("outbox, drain with %d waiting, 64 a commit", waiting), "", "%.0f events/s", rate(n, took))
}

// steps are how much is stored at each measurement: up to -stored.
func (b *bench) steps() (steps []int) {
	for _, n := range []int{10_000, 100_000, 1_000_000, 5_000_000, 10_000_000} {
		if n <= b.stored {
			steps = append(steps, n)
		}
	}
	return steps
}

// opened is what openStore says.
type opened struct {
	Taking, Pushing float64 // seconds until it takes scans, until the first can be pushed
	Anon            float64
	Waiting         uint64
}

func (b *bench) opening(dir string, n int) {
	out, err := exec.CommandContext(b.ctx, os.Args[0], "-open-store", dir).Output()
	b.must("open in a process of its own", err)
	var o opened
	b.must("read what it says", json.Unmarshal(out, &o))
	if o.Waiting != uint64(n) {
		b.Fatalf("%d are waiting, want %d", o.Waiting, n)
	}
	target := ""
	switch {
	case n == 0:
		target = "<= 16 MiB"
	case n >= 5_000_000:
		target = "<= 80 MiB"
	case n >= 1_000_000:
		target = "<= 1 s, <= 5 s"
	case n >= 100_000:
		target = "<= 32 MiB"
	}
	b.add(fmt.Sprintf("outbox, start with %d waiting", n), target, "takes scans after %.2f s, pushes after %.2f s, %.0f MiB anonymous", o.Taking, o.Pushing, o.Anon)
}

// openStore opens a store and says what that took; the process does nothing else.
func openStore(dir string) error {
	begin := time.Now()
	o, err := store.Open(dir, store.Options{MaxSize: outboxSize})
	if err != nil {
		return err
	}
	taking := time.Since(begin)
	recs, err := o.Lease(64, time.Minute)
	if err != nil {
		return err
	}
	pushing := time.Since(begin)
	for _, r := range recs {
		if err := o.Release(store.Retry{Seq: r.ID.Seq, Lease: r.Lease}); err != nil {
			return err
		}
	}
	c := o.Counts()
	err = json.NewEncoder(os.Stdout).Encode(opened{taking.Seconds(), pushing.Seconds(), proc{os.Getpid()}.anon(), c.State[store.ToPush]})
	if closeErr := o.Close(context.Background()); err == nil {
		err = closeErr
	}
	return err
}
