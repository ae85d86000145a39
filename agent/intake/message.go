package intake

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"scanrelay/agent/intake/mapping"
)

// Message is a message as it arrived, also for people who set up a device.
type Message struct {
	Topic      string    `json:"topic"`
	Payload    []byte    `json:"payload"`
	DUP        bool      `json:"dup,omitempty"`
	Retained   bool      `json:"retained,omitempty"`
	ReceivedAt time.Time `json:"received_at"`
	// Size is that of the whole payload in bytes, where Payload was cut short.
	Size int64 `json:"size,omitempty"`
	// Missed is how many messages were left out before this one: who listens
	// is slower than what comes.
	Missed uint64 `json:"missed,omitempty"`
}

// Info is what a Mapper has to know of it.
func (m *Message) Info() mapping.Info {
	return mapping.Info{DUP: m.DUP, Retained: m.Retained, ReceivedAt: m.ReceivedAt, Size: m.Size}
}

// listeners are those who listen to what comes. Intake never waits for them.
type listeners struct {
	any atomic.Bool // somebody listens

	mu   sync.Mutex
	open map[*listener]struct{} // guarded by mu
}

type listener struct {
	messages chan Message
	missed   uint64 // guarded by listeners.mu
}

func (l *listeners) tell(m Message) {
	if !l.any.Load() {
		return
	}
	m.Payload = bytes.Clone(m.Payload)
	if m.Size == int64(len(m.Payload)) {
		m.Size = 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for one := range l.open {
		m.Missed = one.missed
		select {
		case one.messages <- m:
			one.missed = 0
		default:
			one.missed++
		}
	}
}

func (l *listeners) add() *listener {
	one := &listener{messages: make(chan Message, 64)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = make(map[*listener]struct{})
	}
	l.open[one] = struct{}{}
	l.any.Store(true)
	return one
}

func (l *listeners) remove(one *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, one)
	l.any.Store(len(l.open) > 0)
}

// listen calls fn for each message until ctx ends or fn fails.
func (l *listeners) listen(ctx context.Context, fn func(Message) error) error {
	one := l.add()
	defer l.remove(one)
	for {
		select {
		case m := <-one.messages:
			if err := fn(m); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
