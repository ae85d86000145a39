package serve

import (
	"context"
	"errors"
	"fmt"
)

// Group is parts that run side by side. Its methods are for one goroutine.
type Group struct {
	parts []*part
	fell  chan *Fallen
}

type part struct {
	name   string
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // valid once ended is closed
}

// Fallen is the error of a part that ended before it was stopped.
type Fallen struct {
	Part string
	Err  error // nil: nobody knows why
}

func (f *Fallen) Error() string {
	if f.Err == nil {
		return f.Part + " ended by itself"
	}
	return f.Part + ": " + f.Err.Error()
}

// Unwrap returns the part's own error.
func (f *Fallen) Unwrap() error { return f.Err }

// NewGroup returns a group without parts.
func NewGroup() *Group { return &Group{fell: make(chan *Fallen, 1)} }

// Start runs a part until Stop. run must end soon after its context, which has
// no other end.
func (g *Group) Start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{name: name, cancel: cancel, ended: make(chan struct{})}
	g.parts = append(g.parts, p)
	go func() {
		defer close(p.ended)
		err := run(ctx)
		if ctx.Err() == nil {
			select {
			case g.fell <- &Fallen{name, err}:
			default: // an earlier one is the cause
			}
		} else if err != nil && !errors.Is(err, ctx.Err()) {
			p.err = fmt.Errorf("stop %s: %w", name, err)
		}
	}()
}

// Fell receives the first part that ends before it is stopped.
func (g *Group) Fell() <-chan *Fallen { return g.fell }

// Run waits until ctx ends or a part falls, has all parts end at once and waits for
// them.
func (g *Group) Run(ctx context.Context) (err error) {
	select {
	case <-ctx.Done():
	case f := <-g.fell:
		err = f
	}
	for _, p := range g.parts {
		p.cancel()
	}
	return errors.Join(err, g.Stop(nil))
}

// End has a part end ahead of its turn.
func (g *Group) End(name string) {
	for _, p := range g.parts {
		if p.name == name {
			p.cancel()
		}
	}
}

// Stop ends the parts, the last started first, and returns what went wrong
// meanwhile. await waits for one of them, and may give it up; nil waits for each
// as long as it takes.
func (g *Group) Stop(await func(name string, ended <-chan struct{})) error {
	var errs []error
	for i := len(g.parts) - 1; i >= 0; i-- {
		p := g.parts[i]
		p.cancel()
		if await == nil {
			<-p.ended
		} else {
			await(p.name, p.ended)
		}
		select {
		case <-p.ended:
			errs = append(errs, p.err)
		default:
		}
	}
	g.parts = nil
	return errors.Join(errs...)
}
