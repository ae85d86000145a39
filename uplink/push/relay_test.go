package push

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/uplink/shared"
	"scanrelay/wechat"
)

// givenBack is an outbox that only takes leases back.
type givenBack struct {
	Outbox
	seqs []uint64
}

func (o *givenBack) Release(all ...event.Retry) error {
	for _, r := range all {
		o.seqs = append(o.seqs, r.Seq)
	}
	return nil
}

// wallClock is a shared.Clock.
type wallClock struct{ shared.Clock }

func (wallClock) Now() time.Time { return time.Now() }

// Workers end although the dispatcher, which counts what they finish, has ended
// before them.
func TestStopWithUncountedWork(t *testing.T) {
	out := &givenBack{}
	p := New(Config{
		Parts:  shared.Parts{Clock: wallClock{}, Metrics: metrics.NewSet(), Log: slog.New(slog.DiscardHandler)},
		Outbox: out, Concurrency: 1,
	})
	ended, end := context.WithCancel(t.Context())
	end()
	p.taking, p.calling, p.ending = ended, t.Context(), t.Context()
	p.work = make(chan item, 2)
	p.work <- item{rec: event.Record{ID: event.ID{Seq: 1}}} // a lease too old to call under: given back
	p.work <- item{rec: event.Record{ID: event.ID{Seq: 2}}}
	close(p.work)
	p.serve()
	if !slices.Equal(out.seqs, []uint64{1, 2}) {
		t.Errorf("given back were %v", out.seqs)
	}
}

func TestNotificationCarriesEverything(t *testing.T) {
	e := scan.Event{
		Waybill: "YT1", ActionType: 300002, ActionTime: 1597396101, ActionMsg: "派件中",
		Pickup: scan.Courier{Name: "a", Phone: "1"}, Delivery: scan.Courier{Name: "b", Phone: "2"},
	}
	p := scan.Party{Name: "n", Phone: "p", Province: "pr", City: "c", Area: "a", Street: "s", Address: "ad", ID: "i"}
	n := notification(e, scan.Waybill{CreateTime: 7, Sender: p, Receiver: scan.Party{Name: "r", Phone: "q", Province: "x", City: "y", Area: "z"}})
	want := wechat.Notification{
		WaybillID: "YT1", CreateTime: 7,
		Path: wechat.Node{
			ActionTime: 1597396101, ActionType: 300002, ActionMsg: "派件中",
			PickupCourierName: "a", PickupCourierPhone: "1", DeliveryCourierName: "b", DeliveryCourierPhone: "2",
		},
		Sender:   wechat.Party{Name: "n", Phone: "p", Province: "pr", City: "c", Area: "a", Street: "s", Address: "ad", ID: "i"},
		Receiver: wechat.Party{Name: "r", Phone: "q", Province: "x", City: "y", Area: "z"},
	}
	if n != want {
		t.Error("the notification differs from the event and its waybill data")
	}
}
