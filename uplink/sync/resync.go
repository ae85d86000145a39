package sync

import (
	"context"
	"fmt"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/uplink/policy"
)

// maxResync bounds the waybills that are sent again in one call.
const maxResync = 20

// resync sends all nodes again of waybills about which WeChat and the centre
// disagree, and resolves the questions when the centre has acknowledged them. The centre adds
// what it lacks and answers the rest as before. What is above the watermark goes
// with the batches, in its order.
func (s *Relay) resync(ctx context.Context) error {
	asked := s.Questions.TakeResyncs(maxResync)
	if len(asked) == 0 {
		return nil
	}
	res, err := s.resend(ctx, asked)
	if err != nil {
		s.Questions.Fail(asked, err)
		return err
	}
	for _, r := range asked {
		s.Answers.Resynced(r.Event.Waybill)
	}
	s.resolve(asked, res, true)
	return nil
}

// resend makes one call for each epoch that the waybills' records are of.
func (s *Relay) resend(ctx context.Context, asked []event.Record) (results, error) {
	var ids []scan.WaybillID
	for _, r := range asked {
		ids = append(ids, r.Event.Waybill)
	}
	counts := s.Outbox.Counts()
	recs, err := s.Outbox.OfWaybills(ids, policy.MaxPath)
	if err != nil {
		return nil, fmt.Errorf("read nodes to sync again: %w", err)
	}
	all := make(results)
	for _, part := range byEpoch(recs, counts.Watermark) {
		if err := s.resendPart(ctx, part, counts, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// resendPart sends records of one epoch. Where the centre refuses them it halves
// them, and leaves out one that is a dead letter: its batch may have been refused
// for it before, and the others must not wait for it.
func (s *Relay) resendPart(ctx context.Context, part []event.Record, counts event.Counts, all results) error {
	req := s.header(part[0].ID.Epoch, counts)
	req.From, req.Events = part[0].ID.Seq, s.wire(part)
	resp, err := s.call(ctx, &req)
	switch e := asError(err); {
	case e == nil:
	case e.Refused() && len(part) > 1:
		half := len(part) / 2
		if err := s.resendPart(ctx, part[:half], counts, all); err != nil {
			return err
		}
		return s.resendPart(ctx, part[half:], counts, all)
	case e.Refused() && part[0].State == event.Dead:
		return nil
	default:
		return e
	}
	if resp.Rewind {
		return errRenumbered // the next batch finds it as well, and mends it
	}
	s.know(resp)
	all.add(resp)
	return nil
}

// byEpoch splits records up to the watermark, which are in sequence order, into
// runs of one epoch.
func byEpoch(recs []event.Record, watermark uint64) (parts [][]event.Record) {
	for i, r := range recs {
		if r.ID.Seq > watermark {
			break
		}
		if i == 0 || recs[i-1].ID.Epoch != r.ID.Epoch {
			parts = append(parts, nil)
		}
		last := len(parts) - 1
		parts[last] = append(parts[last], r)
	}
	return parts
}
