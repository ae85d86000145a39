package sync

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"scanrelay/store/event"
	"scanrelay/uplink/policy"
	"scanrelay/uplink/shared"
	"scanrelay/uplink/syncapi"
)

const (
	// maxMoves bounds corrections of the numbering that are made without a pause and
	// told each.
	maxMoves = 3
	// settledAfter is for how long there must be none before that begins anew: a centre
	// that takes a batch in between has not settled.
	settledAfter = 5 * time.Minute
)

var (
	errRenumbered = errors.New("the numbering was corrected")
	errUnsettled  = errors.New("central's numbers do not settle: it asks for corrections again and again")
	errUnanswered = errors.New("central did not answer for this event")
)

// number is an event's place on the wire.
type number struct {
	epoch string
	seq   uint64
}

// results are the answers of one call by number.
type results map[number]syncapi.Answer

// add takes the answers of one call.
func (res results) add(resp *syncapi.Response) {
	for _, a := range resp.Answers {
		res[number{a.Epoch, a.Seq}] = a
	}
}

// of is the answer about a record.
func (res results) of(r event.Record) (syncapi.Answer, bool) {
	a, ok := res[number{syncapi.FormatEpoch(r.ID.Epoch), r.ID.Seq}]
	return a, ok
}

// apply takes the answer to a batch: numbering first, then what is known, then
// the events, then the questions.
func (s *Relay) apply(b *batch, resp *syncapi.Response) (more bool, err error) {
	s.narrow.accepted(b)
	s.declarations.heard(b.declaration, resp.StoreID, resp.Process)
	if moved, err := s.renumber(b, resp); moved || err != nil {
		s.Questions.Fail(b.asks, errRenumbered)
		return true, s.corrected(err)
	}
	s.know(resp)
	res := make(results, len(resp.Answers))
	res.add(resp)
	conflict, err := s.applyEvents(b, res)
	if err != nil {
		s.Questions.Fail(b.asks, err)
		return false, err
	}
	s.resolve(b.asks, res, false)
	s.declarations.wake(resp.Ready)
	if conflict {
		return true, s.corrected(s.newEpoch("central has another event under a number of ours"))
	}
	s.reached()
	return b.full, nil
}

// corrected counts a correction of the numbering, which failed with err; nil: it went
// well. Above maxMoves it is a failure all the same: the centre may ask for ever.
func (s *Relay) corrected(err error) error {
	s.meters.corrections.Inc()
	s.moves++
	s.moved = time.Now()
	if err == nil && s.moves > maxMoves {
		return errUnsettled
	}
	return err
}

// reached notes an answer that was of use. While the numbers do not settle the centre
// does not count as reached.
func (s *Relay) reached() {
	s.pace.Reset()
	if time.Since(s.moved) >= settledAfter {
		s.moves = 0
		s.unsettled.Reset()
	} else if s.moves > maxMoves {
		return
	}
	st := *s.status.Load()
	if !st.Connected {
		s.Log.Info("central reached")
	}
	st.Connected, st.Reason = true, ""
	s.status.Store(&st)
}

// renumber compares the centre's have with ours. moved means that the batch
// counts for nothing and is built anew.
func (s *Relay) renumber(b *batch, resp *syncapi.Response) (moved bool, err error) {
	switch {
	case resp.Have >= b.counts.NextSeq:
		// Our store is older than what it once sent.
		return true, s.newEpoch(fmt.Sprintf("central has events up to %d, we are at %d", resp.Have, b.counts.NextSeq))
	case resp.Rewind || resp.Have < s.buried.had(b.counts.Watermark):
		if s.moves <= maxMoves {
			s.Log.Warn("central lost events that it had taken, they are sent again", "have", resp.Have, "watermark", b.counts.Watermark)
		}
		s.Answers.Clear()
		if err := s.Outbox.Rewind(resp.Have); err != nil {
			return true, fmt.Errorf("rewind to %d: %w", resp.Have, err)
		}
		return true, nil
	}
	return false, nil
}

func (s *Relay) newEpoch(why string) error {
	s.Answers.Clear()
	if err := s.Outbox.NewEpoch(why); err != nil {
		return fmt.Errorf("begin new epoch: %w", err)
	}
	return nil
}

// know keeps waybill data and bindings for the pushes to come.
func (s *Relay) know(resp *syncapi.Response) {
	for _, k := range resp.Waybills {
		data := k.Scan()
		s.Answers.Tell(k.WaybillID, data)
		if k.Binding != nil {
			s.Bindings.Told(data.Receiver.Phone, k.Binding.Exist, time.Duration(k.Binding.Age)*time.Second)
		}
	}
}

// sorted is what answers mean for the events of a batch, up to the first that
// was not answered or is in conflict.
type sorted struct {
	recs     []event.Record // answered
	ended    []policy.Ending
	waiting  []event.Record // without waybill data
	conflict bool
}

// applyEvents ends what ended and lifts the watermark over what was answered.
func (s *Relay) applyEvents(b *batch, res results) (conflict bool, err error) {
	a := s.sort(b.recs, res)
	switch n := len(a.recs); {
	case n == 0 && len(b.recs) > 0 && !a.conflict:
		return false, fmt.Errorf("central answered none of %d events", len(b.recs))
	case n > 0:
		if err := s.pass(a.recs[n-1].ID.Seq, a.ended, a.waiting); err != nil {
			return false, err
		}
		s.meters.synced(a.recs, s.Clock.Now())
		if s.OnSynced != nil {
			s.OnSynced(slices.Clone(a.recs))
		}
	}
	return a.conflict, nil
}

func (s *Relay) sort(recs []event.Record, res results) (a sorted) {
	now := s.Today()
	for i, r := range recs {
		answer, ok := res.of(r)
		if !ok || answer.Result == syncapi.Conflict {
			a.conflict = ok
			break
		}
		a.recs = recs[:i+1]
		switch e, over := s.Gate.Answered(r, answer.Result, answer.Reason, now); {
		case r.Ended: // sent again after the centre lost it
		case over:
			a.ended = append(a.ended, e)
		case !s.keep(r, answer):
			a.waiting = append(a.waiting, r)
		}
	}
	return a
}

// keep keeps what the centre answered to an event, and reports whether it may be
// pushed: it was taken, and its waybill has data.
func (s *Relay) keep(r event.Record, a syncapi.Answer) (pushable bool) {
	return a.Result == syncapi.Taken && s.Answers.Taken(r.Event.Waybill, r.ID.Seq)
}

// pass lifts the watermark and settles what ended, in one commit.
func (s *Relay) pass(upTo uint64, ended []policy.Ending, waiting []event.Record) error {
	seqs := make([]uint64, len(waiting))
	for i, r := range waiting {
		seqs[i] = r.ID.Seq
	}
	if err := s.Outbox.Synced(upTo, policy.Settlements(ended), seqs); err != nil {
		return fmt.Errorf("lift watermark to %d: %w", upTo, err)
	}
	for _, r := range waiting {
		s.Questions.Declare(r.Event.Waybill)
	}
	s.Ended(ended)
	return nil
}

// resolve answers the push relay's questions.
func (s *Relay) resolve(asked []event.Record, res results, resynced bool) {
	resolved := make([]shared.Resolution, len(asked))
	for i, r := range asked {
		a, ok := res.of(r)
		if !ok {
			resolved[i] = shared.Resolution{Seq: r.ID.Seq, Err: errUnanswered}
			continue
		}
		s.keep(r, a)
		resolved[i] = shared.Resolution{Seq: r.ID.Seq, Result: a.Result, Reason: a.Reason, Resynced: resynced}
	}
	s.Questions.Resolve(resolved...)
}
