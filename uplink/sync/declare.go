package sync

import (
	"log/slog"
	"math"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/uplink/shared"
	"scanrelay/uplink/syncapi"
)

// declarations knows which waybills without data the centre has still to be told
// of: those that began to wait, and all of them where the centre forgot them.
type declarations struct {
	outbox    Waiter
	questions *shared.Questions
	log       *slog.Logger

	all    bool      // every waiting one is to be declared, from cursor on
	cursor uint64    // a sequence number
	centre string    // store_id and process of the declarations
	due    time.Time // all are declared again then
	began  time.Time // when they last were
}

// What waits is declared again now and then: the centre forgets what is not, and
// what it told may not have been heard. However often another centre answers, it
// is not all declared again sooner than redeclareLeast after the last time.
const (
	redeclareEvery = 10 * time.Minute
	redeclareLeast = time.Minute
)

// declaration is what one request declares.
type declaration struct {
	fresh []scan.WaybillID // given back if the centre does not hear of them
	page  []scan.WaybillID
	paged bool
	next  uint64 // the cursor behind page; 0: there are no more
}

// next takes up to n waybills to declare.
func (d *declarations) next(n int) (dec declaration) {
	n = min(n, syncapi.MaxWaiting)
	fresh, overflow := d.questions.TakeDeclared(n)
	if now := time.Now(); overflow || !d.all && !d.due.IsZero() && !now.Before(d.due) {
		d.restart()
	}
	dec.fresh = fresh
	if !d.all || len(fresh) == n {
		return dec
	}
	page, err := d.outbox.Waiting(n-len(fresh), d.cursor)
	if err != nil {
		d.log.Error("list waybills to declare, trying again", "error", err)
		return dec
	}
	dec.paged = true
	for _, r := range page {
		dec.next = r.ID.Seq
		if !slices.Contains(dec.page, r.Event.Waybill) {
			dec.page = append(dec.page, r.Event.Waybill)
		}
	}
	return dec
}

// heard keeps that the centre heard a declaration, and notices another centre,
// which knows of no declaration: all are declared again.
func (d *declarations) heard(dec declaration, storeID, process string) {
	if dec.paged {
		d.cursor, d.all = dec.next, dec.next != 0
	}
	if now := storeID + "/" + process; now != d.centre {
		d.centre = now
		if time.Since(d.began) < redeclareLeast { // centres take turns
			d.due = d.began.Add(redeclareLeast)
			return
		}
		d.questions.TakeDeclared(math.MaxInt) // they are among all
		d.restart()
	}
}

// restart declares everything that waits from the start.
func (d *declarations) restart() {
	d.all, d.cursor, d.began = true, 0, time.Now()
	d.due = d.began.Add(redeclareEvery + wait.UpTo(redeclareEvery/5))
}

// pending reports whether something is still to be declared.
func (d *declarations) pending() bool {
	_, _, fresh := d.questions.Waiting()
	return fresh || d.all
}

// wake lets the events of waybills go on whose data came. Where that fails all
// are declared again, so that the centre says so again.
func (d *declarations) wake(ids []scan.WaybillID) {
	if len(ids) == 0 {
		return
	}
	if err := d.outbox.Wake(ids...); err != nil {
		d.log.Error("wake events whose waybill data came, trying again", "error", err)
		d.restart()
	}
}
