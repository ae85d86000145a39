package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
	"scanrelay/store/quarantine"
)

var (
	hog    = uint16(7<<6 | 1)
	honest = uint16(7<<6 | 2)
	other  = uint16(8<<6 | 1)
)

// flood appends events of a client, 50 at once, until n are stored or it has its
// share. Full for a while is no fault, for good it is.
func flood(t *testing.T, o *Outbox, c uint16, n int, then func(from, to uint64)) (stored int) {
	t.Helper()
	for stored < n {
		b, next := scan.Batch{Client: c, Shared: true}, o.Counts().NextSeq
		for i := range uint64(50) {
			b.Events = append(b.Events, padded(fmt.Sprint("F", next+i), fmt.Sprint("f", next+i), 1795000000, 300))
		}
		_, err := o.Append(context.Background(), b)
		switch {
		case errors.Is(err, event.ErrShare):
			return stored
		case errors.Is(err, ErrFull):
			select {
			case <-o.Room():
			case <-time.After(5 * time.Minute):
				t.Fatalf("full for good: %+v", o.Counts())
			}
			continue
		case err != nil:
			t.Fatal(err)
		}
		stored += 50
		if then != nil {
			then(next, o.Counts().NextSeq-1)
		}
	}
	return stored
}

// charged sums up from the records what of what is pending came from whom.
func charged(t *testing.T, o *Outbox) map[uint16]int64 {
	t.Helper()
	sum := map[uint16]int64{}
	bad, err := o.journal.Heads(o.index.Pending(0, 1<<20), func(_ uint64, h *codec.Head) error {
		sum[h.Client] += (int64(h.Size) + 511) / 512 * 512
		return nil
	})
	if err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	return sum
}

func checkCharged(t *testing.T, o *Outbox) {
	t.Helper()
	for o.journal.Usage().Clearing {
		time.Sleep(time.Millisecond)
	}
	sum := charged(t, o)
	for _, c := range []uint16{hog, honest, other} {
		if own, _ := o.index.Used(c); own != sum[c] {
			t.Errorf("client %d is charged with %d bytes, it has %d", c, own, sum[c])
		}
	}
}

// While the centre is away one client fills the store, but for a share that others
// have, of its own host or not, over a kill, too. Once its scans are done it goes on.
func TestOneClientLeavesRoom(t *testing.T) {
	dir := fastDir(t)
	opts := Options{MaxSize: 16 << 20, QuarantineSize: 1 << 20, windowSize: 500}
	o := open(t, dir, opts)
	n := flood(t, o, hog, 1<<20, nil)
	if n < 12_000 {
		t.Errorf("alone it gets no more than %d scans into 16 MiB", n)
	}
	checkCharged(t, o)
	o = open(t, copied(t, dir), opts)
	if n := flood(t, o, hog, 1<<20, nil); n > 100 {
		t.Errorf("after a kill it gets %d more", n)
	}
	for _, c := range []uint16{honest, other} {
		if n := flood(t, o, c, 1000, nil); n < 1000 {
			t.Errorf("client %d gets %d scans in", c, n)
		}
	}
	checkCharged(t, o)
	syncAll(t, o)
	pushAll(t, o)
	checkCharged(t, o)
	if n := flood(t, o, hog, 5000, nil); n < 5000 {
		t.Errorf("once all is done it gets %d in", n)
	}
}

// A client has its share before the store is full, however small the store and its
// scans are: in what is left two others get theirs.
func TestOneClientLeavesRoomInSmallStores(t *testing.T) {
	t.Parallel()
	for _, maxSize := range []int64{minMaxSize, 5 << 20, 8 << 20} {
		for _, size := range []int{30, 300, 3000} {
			t.Run(fmt.Sprint(maxSize>>20, " MiB, ", size), func(t *testing.T) {
				t.Parallel()
				o := open(t, fastDir(t), Options{MaxSize: maxSize, QuarantineSize: quarantine.MinSize, windowSize: 500})
				got := map[uint16]int{}
				for _, c := range []uint16{hog, honest, other} {
					for err := error(nil); err == nil; got[c] += 10 {
						b, next := scan.Batch{Client: c, Shared: true}, o.Counts().NextSeq
						for i := range uint64(10) {
							b.Events = append(b.Events, padded(fmt.Sprint("F", next+i), fmt.Sprint("f", next+i), 1795000000, size))
						}
						if _, err = o.Append(t.Context(), b); err != nil && !errors.Is(err, event.ErrShare) {
							t.Fatalf("client %d after %v: %v", c, got, err)
						}
					}
				}
				if got[honest] < got[hog]/20 || got[other] < got[hog]/25 {
					t.Errorf("scans of each: %v", got)
				}
			})
		}
	}
}

// What one host sends under ever new client ids leaves room for other hosts.
func TestOneHostLeavesRoom(t *testing.T) {
	o := open(t, fastDir(t), Options{MaxSize: 16 << 20, QuarantineSize: 1 << 20})
	n := 0
	for i := range 64 {
		n += flood(t, o, uint16(7<<6|i%64), 1000, nil)
	}
	if got := flood(t, o, other, 500, nil); got < 500 {
		t.Errorf("another host gets %d scans in beside %d", got, n)
	}
}

// What waits for waybill data fills a quarter of the store, when room is needed: who
// sent most of it loses its oldest, and others nothing. Scans whose data is known come
// in and go out all the time, over restarts.
func TestWaitersLeaveRoom(t *testing.T) {
	dir := fastDir(t)
	opts := Options{MaxSize: 8 << 20, QuarantineSize: 1 << 20, windowSize: 500}
	o := open(t, dir, opts)
	waits := func(from, to uint64) {
		var all []uint64
		for seq := from; seq <= to; seq++ {
			all = append(all, seq)
		}
		if err := o.Synced(to, nil, all); err != nil {
			t.Fatal(err)
		}
	}
	flood(t, o, honest, 200, waits)
	rounds := storetest.Rounds(6, 2)
	for round := range rounds {
		flood(t, o, hog, 10_000, waits)
		if n := flood(t, o, other, 500, func(uint64, uint64) { syncAll(t, o) }); n < 500 {
			t.Fatalf("round %d: %d scans of others came in", round, n)
		}
		pushAll(t, o)
		checkCharged(t, o)
		if round == rounds/2 {
			closeChecked(t, o)
			o = open(t, dir, opts)
		}
	}
	checkCharged(t, o)
	c := o.Counts()
	if c.State[event.Pushed] != uint64(rounds)*500 || c.State[event.Expired] == 0 || c.State[event.Dead]+c.State[event.Discarded]+c.State[event.ToPush] > 0 {
		t.Errorf("%+v", c)
	}
	waiting := event.AwaitingWaybill
	mine := 0
	for _, r := range all(t, o, Filter{State: &waiting}) {
		if r.Event.Client == honest {
			mine++
		}
	}
	if mine != 200 {
		t.Errorf("%d of 200 scans are left of the client that sent little", mine)
	}
	t.Logf("%d expired, %d wait", c.State[event.Expired], c.State[event.AwaitingWaybill])
}

// What ends gives its sender's share back also where only the disk knows who that was:
// by the centre's answers, and where a start writes outcomes again that damage took.
func TestSharesOfWhatOnlyTheDiskKnows(t *testing.T) {
	t.Parallel()
	dir, clock := fastDir(t), newTestClock()
	opts := small(clock)
	opts.windowSize = 16
	o := open(t, dir, opts)
	for i := range 20 {
		b := scan.Batch{Client: []uint16{hog, honest}[i%2], Shared: true}
		for k := range 50 {
			b.Events = append(b.Events, newEvent(fmt.Sprint("W", i, k), fmt.Sprint("e", i, k), 1795000000))
		}
		if _, err := o.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	var late []event.Settlement
	for seq := uint64(1); seq <= 400; seq++ {
		late = append(late, event.Settlement{Seq: seq, Outcome: event.Superseded})
	}
	if err := o.Synced(1000, late, nil); err != nil {
		t.Fatal(err)
	}
	checkCharged(t, o)
	for n := 0; n < 400; {
		leased := mustLease(t, o, 400-n)
		settle(t, o, event.Pushed, leased...)
		n += len(leased)
	}
	checkCharged(t, o)
	closeChecked(t, o)
	path := filepath.Join(dir, format.Name(1))
	for _, page := range storetest.PagesOf(t, path).Kinds["lower notes leaf"] {
		overwrite(t, path, page*boltpage.PageSize, boltpage.PageSize)
	}
	o = openMended(t, dir, opts)
	if c := o.Counts(); c.State[event.Superseded] != 400 || c.State[event.Pushed] != 400 {
		t.Fatalf("%+v", c)
	}
	checkCharged(t, o)
}
