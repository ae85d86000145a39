package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
)

// View is a look into an agent, running (Client) or not (its store).
type View interface {
	Running() bool
	Status(ctx context.Context) (Status, error)
	Trace(ctx context.Context, waybill string, reveal bool) (Trace, error)
	Events(ctx context.Context, state string, reveal bool, fn func(json.RawMessage) error) error
	DeadLetters(ctx context.Context, reveal bool, fn func(json.RawMessage) error) error
	Close() error
}

// Open looks into the agent of a data folder: by its socket, or into its store,
// read-only, where no agent runs.
func Open(ctx context.Context, dataDir string, depot scan.DepotID, version string) (View, error) {
	c, err := Dial(ctx, dataDir)
	if err == nil {
		return c, nil
	}
	if !errors.Is(err, ErrNotRunning) {
		return nil, err
	}
	if _, err := os.Stat(dataDir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no such folder: no agent has run with this data_dir", dataDir)
	}
	r, err := store.OpenReadOnly(dataDir)
	if errors.Is(err, store.ErrInUse) {
		return nil, fmt.Errorf("the agent is starting or ending, and does not answer: try again (%w)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the agent is not running, and its store can't be read: %w", err)
	}
	return &offline{r, depot, version}, nil
}

// offline looks into a store that no agent holds.
type offline struct {
	*store.Reader
	depot   scan.DepotID
	version string
}

func (o *offline) Running() bool { return false }

func (o *offline) Status(context.Context) (Status, error) {
	var s Status
	s.Depot, s.Version = o.depot, o.version
	s.WeChat.State, s.WeChat.Reason = "unreachable", ErrNotRunning.Error()
	s.Clock = ClockUnknown
	s.SetCounts(o.Counts(), time.Now())
	s.SetAlarms(false)
	return s, nil
}

func (o *offline) Trace(ctx context.Context, waybill string, reveal bool) (Trace, error) {
	return trace(ctx, o.Reader, waybill, reveal)
}

func (o *offline) Events(ctx context.Context, state string, reveal bool, fn func(json.RawMessage) error) error {
	if err := CheckState(state); err != nil {
		return err
	}
	return events(ctx, o.Reader, state, reveal, marshalTo(fn))
}

func (o *offline) DeadLetters(ctx context.Context, reveal bool, fn func(json.RawMessage) error) error {
	return deadLetters(ctx, o.Reader, reveal, marshalTo(fn))
}

func marshalTo(fn func(json.RawMessage) error) func(any) error {
	return func(v any) error {
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return fn(data)
	}
}
