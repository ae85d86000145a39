package source

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
)

// Why a session ends by itself.
var (
	errNoRoom   = errors.New("there is no room for further scans")
	errTooMuch  = errors.New("the broker sends more unacknowledged messages than fit into memory: lower its max_inflight_messages")
	errStopping = errors.New("stopping")
	errLost     = errors.New("the connection was lost")
	errClosed   = errors.New("the broker closes the connection over it")
)

// session is one connection to a broker. Messages go to the outbox in order of
// arrival and are acknowledged in that order from a goroutine of its own.
type session struct {
	s      *Source
	broker string
	client mqtt.Client

	// What was subscribed to and what was granted, by filter; only Run's
	// goroutine has them.
	want, granted map[string]byte

	mu    sync.Mutex
	queue []*pending // not yet acknowledged, in order of arrival; guarded by mu
	cause error      // why it ends and takes nothing any more; guarded by mu

	wake  chan struct{} // something in queue was committed
	moved chan struct{} // something was acknowledged, or nothing will be any more
	// refused is for good: the session ends, and the broker hands all of it again.
	refused atomic.Bool
	ended   chan struct{} // closed when cause is set
	acked   sync.WaitGroup
}

// pending is a message that is not acknowledged yet.
type pending struct {
	msg  mqtt.Message
	done bool
	err  error
}

func newSession(s *Source, broker string) *session {
	return &session{
		s: s, broker: broker, want: make(map[string]byte), granted: make(map[string]byte),
		wake: make(chan struct{}, 1), moved: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// handle takes a message; size is that of its whole payload. It must not block.
func (ss *session) handle(msg mqtt.Message, size int64) {
	s := ss.s
	s.cfg.Pulse.Begin()
	defer s.cfg.Pulse.End()
	s.count(msg)
	if ss.why() != nil {
		s.left(msg)
		return
	}
	m := intake.Message{Topic: msg.Topic(), Payload: msg.Payload(), DUP: msg.Duplicate(), Retained: msg.Retained(), Size: size}
	batch := s.pipe.Take(m)
	batch.Client, batch.Refused = senderOf(msg.Topic(), batch), &ss.refused
	rejected := s.retained.take(m, &batch)
	bytes := intake.Cost(msg.Topic(), msg.Payload(), batch)
	if s.waiting.Add(bytes) > s.cfg.MaxPending {
		s.release(bytes)
		s.left(msg)
		ss.end(errTooMuch)
		return
	}
	p := &pending{msg: msg}
	ss.mu.Lock()
	ss.queue = append(ss.queue, p)
	ss.mu.Unlock()
	err := s.pipe.Submit(msg.Topic(), batch, func(_ scan.Stored, err error) {
		s.release(bytes)
		if err == nil {
			s.retained.add(rejected)
		}
		ss.committed(p, err)
	})
	if err != nil {
		s.release(bytes)
		s.left(msg)
		ss.withdraw(p)
		ss.end(errNoRoom)
	}
}

// senderOf tells senders apart by what a broker shows of them: the topic and the device
// that the message names.
func senderOf(topic string, b scan.Batch) uint16 {
	device := ""
	if len(b.Events) > 0 {
		device = b.Events[0].DeviceID
	}
	return intake.ClientOf(topic, device)
}

// committed is the outbox's callback: it must not block.
func (ss *session) committed(p *pending, err error) {
	ss.mu.Lock()
	p.done, p.err = true, err
	ss.mu.Unlock()
	wait.Signal(ss.wake)
}

// withdraw takes back the newest entry, which the outbox did not take.
func (ss *session) withdraw(p *pending) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if n := len(ss.queue); n > 0 && ss.queue[n-1] == p {
		ss.queue = ss.queue[:n-1]
	}
}

// end lets the session end; the first cause counts.
func (ss *session) end(cause error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.cause == nil {
		ss.cause = cause
		close(ss.ended)
	}
}

func (ss *session) why() error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.cause
}

// acknowledge acknowledges what is committed, in order of arrival, until the
// session is over. Behind a failed commit nothing is acknowledged any more: the
// broker sends all of it again.
func (ss *session) acknowledge(over <-chan struct{}) {
	defer ss.acked.Done()
	for {
		ready, err := ss.ready()
		for _, p := range ready {
			p.msg.Ack()
		}
		wait.Signal(ss.moved)
		if err != nil {
			if ss.s.pipe.Full() {
				err = fmt.Errorf("%w: %w", errNoRoom, err)
			}
			ss.end(err)
			return
		}
		select {
		case <-ss.wake:
		case <-over:
			return
		}
	}
}

// ready takes the committed messages off the queue's head.
func (ss *session) ready() (list []*pending, err error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	n := 0
	for n < len(ss.queue) && ss.queue[n].done && err == nil {
		if err = ss.queue[n].err; err == nil {
			n++
		}
	}
	list = append(list, ss.queue[:n]...)
	clear(ss.queue[:n])
	ss.queue = ss.queue[n:]
	return list, err
}

// drain waits until everything that was taken is acknowledged, or limit. After
// the connection was lost there is nothing to wait for.
func (ss *session) drain(limit time.Duration) {
	if errors.Is(ss.why(), errLost) {
		return
	}
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for ss.owes() {
		select {
		case <-ss.moved:
		case <-timeout.C:
			return
		}
	}
}

// owes reports whether an acknowledgement is still to come.
func (ss *session) owes() bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return len(ss.queue) > 0 && ss.queue[0].err == nil
}

// askRebirths sends the commands that are due, with QoS 0 as Sparkplug wants it;
// what gets lost is asked for again.
func (ss *session) askRebirths(births *sparkplug.Births) {
	ss.s.cfg.Pulse.Begin()
	defer ss.s.cfg.Pulse.End()
	for _, node := range births.Ask(time.Now()) {
		if more, due := ss.s.asking.Due(time.Now()); due {
			ss.s.log.Info("asking a sparkplug edge node for a rebirth", "node", node, "others_before", more)
		}
		ss.client.Publish(sparkplug.RebirthTopic(node), 0, false, sparkplug.Rebirth(time.Now()))
	}
}
