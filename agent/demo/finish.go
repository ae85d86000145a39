package demo

import (
	"context"
	"fmt"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store"
)

// drain waits until every scan has its outcome, at most DrainLimit with a
// duration, and returns what the books disagree in.
func (d *demo) drain(ctx context.Context) []string {
	limit := time.Duration(0)
	if d.o.Duration > 0 {
		limit = DrainLimit
	}
	for start := time.Now(); !d.drained(); {
		if limit > 0 && time.Since(start) > limit || !wait.Sleep(ctx, 50*time.Millisecond) {
			break
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return d.audit(ctx)
}

// drained reports whether all that was handed to scanners is stored and ended.
func (d *demo) drained() bool {
	sent, acked := d.ledger.counts()
	return acked == sent && d.site.agent.Status().Pending.Total() == 0
}

func (d *demo) audit(ctx context.Context) []string {
	var records []store.Record
	err := d.site.agent.Outbox().Scan(ctx, store.Filter{}, func(r store.Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		return []string{fmt.Sprintf("read the outbox: %v", err)}
	}
	return d.ledger.audit(records, answered(d.site.wechat.Pushes(), d.site.wechat.Calls()))
}

// finish shows the result on the page and prints it.
func (d *demo) finish(wrong []string) {
	v := resultView{OK: len(wrong) == 0}
	if !v.OK {
		v.Text = wrong[0]
	}
	d.board.setResult(v)
	d.summary("finished")
	if v.OK {
		fmt.Fprintln(d.o.Out, "Every scan has exactly one outcome, and WeChat received each pushed one once, in order.")
		pushes := d.site.wechat.Pushes()
		if lost := len(pushes) - len(answered(pushes, d.site.wechat.Calls())); lost > 0 {
			fmt.Fprintf(d.o.Out, "%d more were shown, but WeChat's answer was spoilt on its way, so they were pushed again.\n", lost)
		}
		return
	}
	for i, w := range wrong {
		if i == 10 {
			fmt.Fprintf(d.o.Out, "  … and %d more\n", len(wrong)-i)
			break
		}
		fmt.Fprintln(d.o.Out, "  wrong:", w)
	}
}

// summary prints the counts as they are.
func (d *demo) summary(how string) {
	sent, acked := d.ledger.counts()
	s := d.site.agent.Status()
	o := s.Outcome
	fmt.Fprintf(d.o.Out, "\nDemo %s.\n", how)
	for _, line := range []struct {
		what string
		n    any
	}{
		{"scans published", sent}, {"acknowledged, on disk", acked}, {"stored events", s.Intake.Received},
		{"pushed", o.Pushed}, {"receiver not bound", o.NotBound}, {"superseded", o.Superseded},
		{"expired", o.Expired}, {"muted", o.Muted}, {"dead letters", o.Dead},
		{"still pending", s.Pending.Total()},
		{"repeated scans, stored once", s.Intake.Duplicate}, {"reads that are none", s.Intake.Ignored}, {"not understood", s.Intake.Rejected},
		{"messages that WeChat received", len(d.site.wechat.Pushes())},
	} {
		fmt.Fprintf(d.o.Out, "  %-30s %7d\n", line.what, line.n)
	}
}

// setResult ends the demo on the page.
func (b *board) setResult(v resultView) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.phase, b.result, b.fresh.rows = "done", &v, true
}
