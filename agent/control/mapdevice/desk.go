package mapdevice

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"time"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/mapping"
	"scanrelay/configs"
	"scanrelay/configs/wait"
	"scanrelay/store"
)

// Files is the agent's configuration with one file of data_dir's sources.d in another
// form.
type Files interface {
	// Draft reads the configuration as it would be with the text in that file.
	Draft(name string, text []byte) configs.Draft
	// Save does that and puts it in use, or changes nothing: then the problems say why.
	Save(name string, text []byte) (configs.Draft, error)
}

// Options is what a Desk works with.
type Options struct {
	Files  Files
	Listen func(ctx context.Context, fn func(intake.Message) error) error // hears what arrives
	Mapper *mapping.Mapper                                                // in use
	Clock  mapping.Clock                                                  // of what is tried
	// Quarantine calls fn for each entry, the oldest first.
	Quarantine func(ctx context.Context, fn func(store.Quarantined) error) error
}

// Bounds of what is kept.
const (
	maxKept     = 100 // messages
	maxOfTopic  = 20  // of one topic, so that one device leaves room for others
	maxBytes    = 1 << 20
	maxPayload  = 64 << 10        // of one message; of a larger one nothing is kept but its size
	maxRejected = 20              // entries of the quarantine
	linger      = 2 * time.Minute // after the last look
)

// Desk keeps what arrives while somebody maps a device. Its methods may be called
// concurrently.
type Desk struct {
	o      Options
	wanted chan struct{}
	turn   chan struct{} // who goes through the quarantine, which may be large, has it

	mu       sync.Mutex  // guards what follows
	idle     *time.Timer // ends the recording; nil: nothing is recorded
	kept     []message   // the oldest first
	bytes    int
	last     int       // number of the message that came last
	rejected []message // of the quarantine, the oldest first
}

// message is one that is kept.
type message struct {
	intake.Message
	id     string
	large  bool               // its payload was too large to be kept
	reject *store.Quarantined // it is of the quarantine
}

// New returns a Desk, which works once Run does.
func New(o Options) *Desk {
	return &Desk{o: o, wanted: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
}

// Run records, whenever somebody looks and until nobody has for a while.
func (d *Desk) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.wanted:
		}
		d.record(ctx)
	}
}

func (d *Desk) record(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.mu.Lock()
	d.idle = time.AfterFunc(linger, cancel)
	d.mu.Unlock()
	_ = d.o.Listen(ctx, func(m intake.Message) error { d.keep(m); return nil }) // ends with ctx
	d.mu.Lock()
	d.idle.Stop()
	d.idle, d.kept, d.rejected, d.bytes = nil, nil, nil, 0
	d.mu.Unlock()
}

// look says that somebody looks.
func (d *Desk) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.idle == nil || !d.idle.Reset(linger) {
		wait.Signal(d.wanted)
	}
}

// keep keeps a message and returns its id.
func (d *Desk) keep(m intake.Message) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	one := message{Message: m, id: strconv.Itoa(d.last)}
	one.Size = max(m.Size, int64(len(m.Payload)))
	if one.large = one.Size > maxPayload; one.large {
		one.Payload = nil
	}
	d.kept = append(d.kept, one)
	d.bytes += cost(&one)
	same := 0
	for i := range d.kept {
		if d.kept[i].Topic == m.Topic {
			same++
		}
	}
	for i := 0; i < len(d.kept) && same > maxOfTopic; i++ {
		if d.kept[i].Topic == m.Topic {
			d.drop(i)
			same, i = same-1, i-1
		}
	}
	for len(d.kept) > maxKept || d.bytes > maxBytes {
		d.drop(0)
	}
	return one.id
}

func cost(m *message) int { return len(m.Topic) + len(m.Payload) }

// drop forgets a message. The caller holds mu.
func (d *Desk) drop(i int) {
	d.bytes -= cost(&d.kept[i])
	d.kept = append(d.kept[:i:i], d.kept[i+1:]...)
}

// messages are those that are kept, the oldest first.
func (d *Desk) messages() []message {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]message(nil), d.kept...)
}

// find finds a message by its id.
func (d *Desk) find(id string) (message, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, list := range [][]message{d.kept, d.rejected} {
		for i := range list {
			if list[i].id == id {
				return list[i], true
			}
		}
	}
	return message{}, false
}

// fetch takes the newest entries of the quarantine.
func (d *Desk) fetch(ctx context.Context) ([]message, error) {
	var list []message
	err := d.o.Quarantine(ctx, func(q store.Quarantined) error {
		if len(q.Payload) > maxPayload {
			return nil
		}
		q.Payload = bytes.Clone(q.Payload)
		list = append(list, message{
			Message: intake.Message{Topic: q.Topic, Payload: q.Payload, ReceivedAt: q.ReceivedAt, Size: int64(len(q.Payload))},
			id:      "rejected-" + strconv.FormatUint(q.Seq, 10), reject: &q,
		})
		list = list[max(0, len(list)-maxRejected):]
		return nil
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rejected = list
	return list, err
}
