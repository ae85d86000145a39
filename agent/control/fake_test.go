package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
)

var at = time.Date(2026, 11, 23, 8, 0, 0, 250e6, time.UTC)

// stored is an Outbox of a few records in memory.
type stored struct {
	records     []store.Record
	quarantined []store.Quarantined
	counts      store.Counts
	reason      string
	breaks      error // what Scan ends with
}

func (s *stored) Counts() store.Counts { return s.counts }

func (s *stored) Scan(ctx context.Context, f store.Filter, fn func(store.Record) error) error {
	for _, r := range s.records {
		if f.State != nil && *f.State != r.State || f.Waybill != "" && f.Waybill != r.Event.Waybill {
			continue
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return s.breaks
}

func (s *stored) Quarantine(_ context.Context, fn func(store.Quarantined) error) error {
	for _, q := range s.quarantined {
		if err := fn(q); err != nil {
			return err
		}
	}
	return nil
}

func (s *stored) Requeue(_ context.Context, ids ...store.ID) (int, error) {
	return s.end(store.ToPush, ids)
}

func (s *stored) Discard(_ context.Context, reason string, ids ...store.ID) (int, error) {
	s.reason = reason
	return s.end(store.Discarded, ids)
}

func (s *stored) end(to store.State, ids []store.ID) (int, error) {
	for i := range s.records {
		if slices.Contains(ids, s.records[i].ID) {
			if s.records[i].State != store.Dead {
				return 0, store.ErrNotDead
			}
			s.records[i].State = to
		}
	}
	return len(ids), nil
}

// sample holds a pushed event, a dead letter and something rejected.
func sample() *stored {
	return &stored{
		records: []store.Record{
			{
				ID: store.ID{Epoch: 0xabc, Seq: 1}, State: store.Pushed, Attempts: 1, FinishedAt: at.Add(time.Second),
				Event: scan.Event{
					EventID: "e1", Waybill: "YT1234567890123", ActionType: 200001, ActionTime: 1795420800,
					ActionMsg: "快件到达", ReceivedAt: at,
				},
			},
			{
				ID: store.ID{Epoch: 0xabc, Seq: 2}, State: store.Dead, Attempts: 5, FinishedAt: at.Add(time.Minute),
				Last: store.Reply{Reason: "refused for 李四 13800138000", ErrCode: 932003, RID: "5f-1"},
				Event: scan.Event{
					EventID: "e2", Waybill: "YT1234567890123", ActionType: 300002, ActionTime: 1795420900,
					ActionMsg: "派件中,电话13800138000", ReceivedAt: at.Add(time.Second),
				},
			},
		},
		quarantined: []store.Quarantined{{Seq: 7, Reject: scan.Reject{
			Topic: "scans/x", Payload: []byte("tel 13800138000"), Index: 2, Code: "not_json", Reason: "is no JSON", ReceivedAt: at,
		}}},
		counts: store.Counts{Received: 2, FileBytes: 4096, LiveBytes: 100, Oldest: at.Add(-90 * time.Second)},
	}
}

func options(o Outbox) Options {
	ok := func() error { return nil }
	return Options{
		Outbox: o, Status: func() Status { var s Status; s.Depot = "hz-01"; s.SetCounts(o.Counts(), at); return s },
		Live: ok, Ready: func() error { return errors.New("the store is full") },
		Metrics: func(w io.Writer) { _, _ = io.WriteString(w, "scanrelay_x 1\n") },
		Hosts:   []string{"gateway.example"}, Logger: slog.New(slog.DiscardHandler),
	}
}
