package demo

import (
	"context"
	"errors"
	"fmt"
)

// services are what runs beside the demo's own course. They are stopped one by
// one, the last started first, each waited for.
type services struct {
	list   []*service
	failed chan error // the first that ended by itself
}

type service struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // valid once ended is closed
}

func newServices() *services { return &services{failed: make(chan error, 1)} }

// start runs a service until stop. It must end soon after its ctx.
func (s *services) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	v := &service{cancel: cancel, ended: make(chan struct{})}
	s.list = append(s.list, v)
	go func() {
		defer close(v.ended)
		err := run(ctx)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = nil
		}
		if err != nil {
			v.err = fmt.Errorf("%s: %w", name, err)
		}
		if ctx.Err() == nil && err != nil {
			select {
			case s.failed <- v.err:
			default: // an earlier failure is the cause
			}
		}
	}()
}

// stop stops all and returns what went wrong, joined.
func (s *services) stop() error {
	var errs []error
	for i := len(s.list) - 1; i >= 0; i-- {
		v := s.list[i]
		v.cancel()
		<-v.ended
		errs = append(errs, v.err)
	}
	s.list = nil
	return errors.Join(errs...)
}
