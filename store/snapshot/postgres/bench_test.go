package postgres

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// processor returns what this process has used of it.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMerge: events a second from 16 depots, in batches of 200, each event of
// another waybill of 100,000; µs are what this process uses for one.
func BenchmarkMerge(b *testing.B) {
	const depots, size = 16, 200
	s := open(b, database(b))
	data := scan.Waybill{
		CreateTime: time.Now().Unix(),
		Sender:     scan.Party{Name: "张三", Phone: "13900139001", Province: "浙江省", City: "绍兴市", Area: "柯桥区", Address: "纺都路137号"},
		Receiver:   scan.Party{Name: "李四", Phone: "13800138000", Province: "福建省", City: "泉州市", Area: "晋江市", Address: "庄宅北区158-6"},
	}
	var depot atomic.Int64
	before, began := processor(b), time.Now()
	b.SetParallelism(depots / 2)
	b.RunParallel(func(pb *testing.PB) {
		id, seq := scan.DepotID(fmt.Sprintf("depot-%d", depot.Add(1))), uint64(0)
		for pb.Next() {
			events := make([]snapshot.Event, size)
			for i := range events {
				seq++
				events[i] = event(seq, fmt.Sprintf("YT%013d", rand.IntN(100_000)))
				events[i].EventID = fmt.Sprintf("%s-%d", id, seq)
				events[i].Data = &data
			}
			if _, err := s.Merge(b.Context(), batch(id, events...)); err != nil {
				b.Error(err)
			}
		}
	})
	events := float64(b.N) * size
	b.ReportMetric(events/time.Since(began).Seconds(), "events/s")
	b.ReportMetric(float64((processor(b)-before).Microseconds())/events, "µs-own/event")
	b.ReportMetric(0, "ns/op")
}
