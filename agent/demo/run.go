package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"scanrelay/agent"
	"scanrelay/agent/control"
	"scanrelay/agent/scan"
	"scanrelay/configs/serve"
	"scanrelay/store"
	"scanrelay/wechat/fake"
)

// demo is one run.
type demo struct {
	o       Options
	site    *site
	board   *board
	cable   *cable
	ledger  *ledger
	parcels []*parcel
	devices map[string]*device
	carrier *carrier
}

// errDisagree is what Run returns when the books do not agree.
var errDisagree = errors.New("the demo's books do not agree")

// Run runs the demo until its duration is over or ctx ends. With a duration it
// returns an error unless every scan had exactly one outcome and the fake
// WeChat received exactly what was pushed, each waybill's in order.
func Run(ctx context.Context, o Options) (err error) {
	if o, err = o.withDefaults(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "scanrelay-demo-")
	if err != nil {
		return errors.Join(fmt.Errorf("make data folder: %w", err), o.Listen.Close())
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.Rollout != "" {
		return runRollout(ctx, o, filepath.Clean(dir))
	}
	d := newDemo(o, filepath.Clean(dir))
	defer func() { err = errors.Join(err, d.site.parts.Stop(nil)) }()
	if err := d.start(); err != nil {
		return fmt.Errorf("run demo: %w", err)
	}
	return d.course(ctx)
}

func newDemo(o Options, dir string) *demo {
	parcels, c := makeParcels(o.Parcels, 1, time.Now().Unix()), newCable()
	return &demo{
		o: o, ledger: newLedger(), devices: makeDevices(), cable: c, parcels: parcels, board: newBoard(parcels, time.Now),
		site: &site{o: o, dir: dir, log: o.Logger, parts: serve.NewGroup(), cable: c},
	}
}

// start starts the page and all roles but the scanners.
func (d *demo) start() error {
	h := newHub(d.board, d.cable, d.status)
	page, err := h.handler()
	if err != nil {
		return errors.Join(err, d.o.Listen.Close())
	}
	parts := d.site.parts
	parts.Start("page", func(ctx context.Context) error {
		return serve.HTTP(ctx, d.o.Listen, page, d.o.Logger, serve.Few(), 100*time.Millisecond)
	})
	parts.Start("cable", func(ctx context.Context) error { d.cable.run(ctx); return nil })
	if err := d.site.start(d.hooks(), fake.Options{OnPush: d.board.message, OnLookup: d.board.lookedUp}); err != nil {
		return err
	}
	for _, p := range d.parcels {
		d.site.wechat.Bind(p.data.Receiver.Phone, !unbound(p.data.Receiver.Phone))
	}
	parts.Start("page's news", func(ctx context.Context) error { h.run(ctx); return nil })
	d.carrier = newCarrier(d.site.centralURL, d.site.adminToken, d.o.pace().travel/3, len(d.parcels))
	return nil
}

// status is the agent's; nothing before it runs.
func (d *demo) status() control.Status {
	if d.site.agent == nil {
		return control.Status{}
	}
	return d.site.agent.Status()
}

func (d *demo) hooks() agent.Hooks {
	return agent.Hooks{
		OnStored: func(b scan.Batch, s scan.Stored) { d.board.stored(b, s) },
		OnSynced: d.board.synced,
		OnOutcome: func(r store.Record) {
			d.ledger.noteOutcome(r)
			d.board.outcome(r)
		},
	}
}

// course is the demo's own course: waybill data, scanning, draining, result.
// It is cut short when ctx ends, which is no error, or when a part fails.
func (d *demo) course(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fell := make(chan error, 1)
	go func() { // ends with ctx
		select {
		case err := <-d.site.parts.Fell():
			cancel()
			fell <- err
		case <-ctx.Done():
			fell <- nil
		}
	}()
	err := d.scanAndDrain(ctx)
	cancel()
	if failed := <-fell; failed != nil {
		return failed
	}
	return err
}

func (d *demo) scanAndDrain(ctx context.Context) error {
	select {
	case <-d.site.agent.Ready():
	case <-ctx.Done():
		return nil
	}
	fmt.Fprintf(d.o.Out, "scanrelay demo: open http://%s/ (Ctrl-C ends it)\n", d.o.Listen.Addr())
	fmt.Fprintf(d.o.Out, "  what the simulated WeChat has pushed: %s/\n", d.site.wechatURL)
	if err := d.site.wechat.CheckURL(ctx); err != nil {
		return ignoreStop(ctx, err)
	}
	if err := d.carrier.early(ctx, d.parcels); err != nil {
		return ignoreStop(ctx, err)
	}
	d.site.parts.Start("carrier", d.carrier.run)
	d.scan(ctx)
	if ctx.Err() != nil {
		d.summary("stopped")
		return nil
	}
	d.board.setPhase("draining")
	wrong := d.drain(ctx)
	if ctx.Err() != nil {
		d.summary("stopped")
		return nil
	}
	d.finish(wrong)
	if d.o.Duration == 0 {
		<-ctx.Done()
		return nil
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s", errDisagree, wrong[0])
	}
	return nil
}

// ignoreStop drops an error that only says that ctx has ended.
func ignoreStop(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// scan lets the scanners work until every parcel is through or the duration is
// over.
func (d *demo) scan(ctx context.Context) {
	s := newShift(d.parcels, d.o.pace(), d.devices)
	s.begun, s.handed = d.carrier.begun, func(j scanJob) { d.ledger.note(d.ledger.sent, j.key) }
	scanners := &fleet{devices: d.devices,
		sent: func(j scanJob) { d.board.scanned(j.key) },
		acked: func(j scanJob) {
			d.ledger.note(d.ledger.acked, j.key)
			s.acked(j)
		}}
	d.site.parts.Start("scanners", func(ctx context.Context) error { return scanners.run(ctx, d.site.broker) })
	d.board.setPhase("scanning")
	if d.o.Duration > 0 {
		limited, cancel := context.WithTimeout(ctx, d.o.Duration)
		defer cancel()
		ctx = limited
	}
	if d.o.Offline > 0 {
		cut := time.AfterFunc(d.o.cutAt(), func() { d.cable.Cut(d.o.Offline) })
		defer cut.Stop()
	}
	s.run(ctx)
}
