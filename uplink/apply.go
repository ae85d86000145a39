package uplink

import (
	"fmt"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/uplink/syncapi"
)

// number is an event's place on the wire.
type number struct {
	epoch string
	seq   uint64
}

// results are the answers of one call by number.
type results map[number]syncapi.Answer

func resultsOf(resp *syncapi.Response) results {
	r := make(results, len(resp.Answers))
	for _, a := range resp.Answers {
		r[number{a.Epoch, a.Seq}] = a
	}
	return r
}

// apply takes the answer to a batch: numbering first, then what is known, then
// the events, then the questions.
func (s *syncer) apply(b *batch, resp *syncapi.Response) (more bool, err error) {
	s.narrow.accepted(b)
	s.waits.declared(b.decl)
	s.waits.heard(resp.StoreID, resp.Process)
	if moved, err := s.renumber(b, resp); moved || err != nil {
		s.desk.fail(b.asks, errRenumbered)
		if s.moves++; s.moves > maxMoves && err == nil {
			err = errUnsettled
		}
		return true, err
	}
	s.moves = 0
	s.know(resp)
	res := resultsOf(resp)
	conflict, err := s.applyEvents(b, res)
	if err != nil {
		s.desk.fail(b.asks, err)
		return false, err
	}
	s.applyAsks(b, res)
	s.waits.wake(waybillIDs(resp.Ready))
	if conflict {
		return true, s.newEpoch("central has another event under a number of ours")
	}
	return b.full, nil
}

// renumber compares the centre's have with ours. moved means that the batch
// counts for nothing and is built anew.
func (s *syncer) renumber(b *batch, resp *syncapi.Response) (moved bool, err error) {
	switch {
	case resp.Have >= b.counts.NextSeq:
		// Our store is older than what it once sent.
		return true, s.newEpoch(fmt.Sprintf("central has events up to %d, we are at %d: this store was restored from a copy", resp.Have, b.counts.NextSeq))
	case resp.Rewind || resp.Have < b.counts.Watermark:
		s.log.Warn("central lost events that it had taken, they are sent again", "have", resp.Have, "watermark", b.counts.Watermark)
		s.answers.clear()
		if err := s.outbox.Rewind(resp.Have); err != nil {
			return true, fmt.Errorf("rewind to %d: %w", resp.Have, err)
		}
		return true, nil
	}
	return false, nil
}

func (s *syncer) newEpoch(why string) error {
	s.log.Warn("a new epoch begins", "reason", why)
	s.answers.clear()
	if err := s.outbox.NewEpoch(why); err != nil {
		return fmt.Errorf("begin new epoch: %w", err)
	}
	return nil
}

// know keeps waybill data and bindings for the pushes to come.
func (s *syncer) know(resp *syncapi.Response) {
	for _, k := range resp.Waybills {
		data := k.Scan()
		s.answers.tell(scan.WaybillID(k.WaybillID), data)
		if k.Binding != nil {
			s.bindings.told(data.Receiver.Phone, k.Binding.Exist, time.Duration(k.Binding.Age)*time.Second)
		}
	}
}

// applyEvents ends what ended and lifts the watermark over what was answered,
// up to the first conflict.
func (s *syncer) applyEvents(b *batch, res results) (conflict bool, err error) {
	if len(b.recs) == 0 {
		return false, nil
	}
	now := s.clock.Now()
	var ended []ending
	var waiting []store.Record
	done := 0
	for _, r := range b.recs {
		a, ok := res[number{b.req.Epoch, r.ID.Seq}]
		if !ok || a.Result == syncapi.Conflict {
			conflict = ok
			break
		}
		done++
		switch e, over := s.judge(r, a, now); {
		case r.State.Finished(): // sent again after the centre lost it
		case over:
			ended = append(ended, e)
		case !s.pushable(r, a):
			waiting = append(waiting, r)
		}
	}
	if done == 0 {
		if conflict {
			return true, nil
		}
		return false, fmt.Errorf("central answered none of %d events", len(b.recs))
	}
	if err := s.pass(b.recs[done-1].ID.Seq, ended, waiting); err != nil {
		return false, err
	}
	if s.onSynced != nil {
		s.onSynced(slices.Clone(b.recs[:done]))
	}
	return conflict, nil
}

// judge is what an answer means for an event that is not to be pushed.
func (s *syncer) judge(r store.Record, a syncapi.Answer, now time.Time) (ending, bool) {
	switch a.Result {
	case syncapi.Refused:
		return ending{r, end(r, store.Dead, refusedReason(a.Reason))}, true
	case syncapi.Duplicate:
		return ending{r, end(r, store.Superseded, reasonDuplicate)}, true
	}
	e, over := s.gate.first(r, a.Result == syncapi.Late, now)
	return ending{r, e}, over
}

// pushable keeps a taken event's answer; false where its waybill has no data.
func (s *syncer) pushable(r store.Record, a syncapi.Answer) bool {
	return a.Result == syncapi.Taken && s.answers.taken(r.Event.Waybill, r.ID.Seq)
}

// pass lifts the watermark and settles what ended, in one commit.
func (s *syncer) pass(upTo uint64, ended []ending, waiting []store.Record) error {
	settle := make([]store.Settlement, len(ended))
	for i, e := range ended {
		settle[i] = e.Settlement
	}
	seqs := make([]uint64, len(waiting))
	for i, r := range waiting {
		seqs[i] = r.ID.Seq
	}
	if err := s.outbox.Synced(upTo, settle, seqs); err != nil {
		return fmt.Errorf("lift watermark to %d: %w", upTo, err)
	}
	for _, r := range waiting {
		s.waits.parked(r.Event.Waybill)
	}
	if s.onEnded != nil {
		now := s.clock.Now()
		for _, e := range ended {
			s.onEnded(e.finished(now))
		}
	}
	return nil
}

// applyAsks replies to the push relay's questions.
func (s *syncer) applyAsks(b *batch, res results) {
	replies := make([]verdictOfCentre, 0, len(b.asks))
	for _, r := range b.asks {
		replies = append(replies, s.replyTo(r, res, false))
	}
	s.desk.reply(replies...)
}

// replyTo is what the centre says about one record.
func (s *syncer) replyTo(r store.Record, res results, resynced bool) verdictOfCentre {
	a, ok := res[number{epochText(r.ID.Epoch), r.ID.Seq}]
	if !ok {
		return verdictOfCentre{seq: r.ID.Seq, err: errUnanswered}
	}
	if a.Result == syncapi.Taken {
		s.answers.taken(r.Event.Waybill, r.ID.Seq)
	}
	return verdictOfCentre{seq: r.ID.Seq, result: a.Result, reason: a.Reason, resynced: resynced}
}

func waybillIDs(s []string) []scan.WaybillID {
	ids := make([]scan.WaybillID, len(s))
	for i, id := range s {
		ids[i] = scan.WaybillID(id)
	}
	return ids
}
