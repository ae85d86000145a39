package intake

import (
	"context"
	"sync/atomic"
	"time"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
)

// Pipe is the way of a message from whoever receives it to the outbox: Take maps
// it, Submit makes the batch durable and says when to acknowledge. It is safe for
// concurrent use.
type Pipe struct {
	Pulse     *wait.Pulse // of taking messages; nil: nobody looks at it
	mapper    *mapping.Mapper
	outbox    Outbox
	dedupe    *dedupe
	serial    atomic.Uint64
	listeners listeners
	changed   chan struct{}
}

// New returns a Pipe that leaves repeated reads within window out; 0: none.
func New(m *mapping.Mapper, o Outbox, window time.Duration) *Pipe {
	return &Pipe{mapper: m, outbox: o, dedupe: newDedupe(window), changed: make(chan struct{}, 1)}
}

// Update puts other rules and another dedupe window in the place of the ones
// before, between two messages.
func (p *Pipe) Update(rules *mapping.Rules, window time.Duration) {
	p.mapper.Update(rules)
	p.dedupe.setWindow(window)
	wait.Signal(p.changed)
}

// Changed receives after an Update: whoever subscribes has to look again.
func (p *Pipe) Changed() <-chan struct{} { return p.changed }

// Mapper is what maps the messages.
func (p *Pipe) Mapper() *mapping.Mapper { return p.mapper }

// Listen calls fn for each message that comes, until ctx ends or fn fails.
// Messages that come faster than fn takes them are left out.
func (p *Pipe) Listen(ctx context.Context, fn func(Message) error) error {
	return p.listeners.listen(ctx, fn)
}

// Take maps a message that has just come.
func (p *Pipe) Take(m Message) scan.Batch {
	p.Pulse.Begin()
	defer p.Pulse.End()
	m.ReceivedAt = p.mapper.Now()
	p.listeners.tell(m)
	info := m.Info()
	info.Serial = p.serial.Add(1)
	return p.mapper.Map(m.Topic, m.Payload, info)
}

// Submit gives the batch of a message on topic to the outbox, without repeated
// reads and under Outbox.Submit's rules.
func (p *Pipe) Submit(topic string, b scan.Batch, done func(scan.Stored, error)) error {
	return p.dedupe.submit(p.outbox, topic, b, done)
}

// Room is the outbox's.
func (p *Pipe) Room() <-chan struct{} { return p.outbox.Room() }

// Full reports whether the outbox has no room now.
func (p *Pipe) Full() bool {
	select {
	case <-p.outbox.Room():
		return false
	default:
		return true
	}
}

// eventCost is about what one event takes in memory, beside the texts that the
// payload holds as well.
const eventCost = 600

// Cost is about what a message and its batch take in memory until they are
// committed, in bytes.
func Cost(topic string, payload []byte, b scan.Batch) int64 {
	n := int64(len(topic)+len(payload)) + eventCost*int64(1+len(b.Events)+len(b.Rejects))
	for _, r := range b.Rejects {
		n += int64(len(r.Topic) + len(r.Payload))
	}
	return n
}
