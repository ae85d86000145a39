package demo

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"time"
)

// shift hands the parcels' scans to the devices, each when its time has come
// and never before the parcel's last scan was acknowledged.
type shift struct {
	parcels []*parcel
	pace    pace
	devices map[string]*device
	acks    chan scanJob  // from the devices
	over    chan struct{} // closed when run has returned
	begun   func(*parcel)
	handed  func(scanJob) // before a device gets it
	due     agenda
	rng     *rand.Rand
	open    int // parcels with scans to make
}

func newShift(parcels []*parcel, p pace, devices map[string]*device) *shift {
	s := &shift{parcels: parcels, pace: p, devices: devices, acks: make(chan scanJob, 1024), over: make(chan struct{}), rng: rand.New(rand.NewPCG(7, 7)), open: len(parcels)}
	for i := range parcels {
		heap.Push(&s.due, entry{at: time.Duration(i) * p.every, parcel: i})
	}
	return s
}

// run works until every parcel is through or ctx ends. The devices' queues hold
// more than a shift brings, unless the depot refuses scans: then it waits.
func (s *shift) run(ctx context.Context) {
	defer close(s.over)
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for s.open > 0 {
		if len(s.due) > 0 {
			timer.Reset(s.due[0].at - time.Since(start))
		}
		select {
		case <-ctx.Done():
			return
		case j := <-s.acks:
			s.next(j, time.Since(start))
		case <-timer.C:
			for len(s.due) > 0 && s.due[0].at <= time.Since(start) {
				if !s.hand(ctx, heap.Pop(&s.due).(entry)) {
					return
				}
			}
		}
	}
}

// acked is told by the devices of each acknowledged scan.
func (s *shift) acked(j scanJob) {
	select {
	case s.acks <- j:
	case <-s.over:
	}
}

// hand gives one scan to its device.
func (s *shift) hand(ctx context.Context, e entry) bool {
	p := s.parcels[e.parcel]
	if e.index == 0 {
		s.begun(p)
	}
	j := scanJob{stop: p.stops[e.index], parcel: e.parcel, index: e.index}
	d := s.devices[j.device]
	s.handed(j)
	for {
		select {
		case d.queue <- j:
			return true
		case a := <-s.acks: // or the device could not go on either
			s.next(a, e.at)
		case <-ctx.Done():
			return false
		}
	}
}

// next plans a parcel's next scan after one was acknowledged.
func (s *shift) next(j scanJob, now time.Duration) {
	p := s.parcels[j.parcel]
	if j.index+1 == len(p.stops) {
		s.open--
		return
	}
	gap := s.pace.travel / time.Duration(len(p.stops))
	gap = gap*3/4 + time.Duration(s.rng.Int64N(int64(gap)/2+1))
	heap.Push(&s.due, entry{at: now + gap, parcel: j.parcel, index: j.index + 1})
}

// entry is one scan to be made, at a time since the shift's start.
type entry struct {
	at            time.Duration
	parcel, index int
}

// agenda is a heap by time.
type agenda []entry

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at < a[j].at }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(v any)        { *a = append(*a, v.(entry)) }
func (a *agenda) Pop() any {
	old := *a
	e := old[len(old)-1]
	*a = old[:len(old)-1]
	return e
}
