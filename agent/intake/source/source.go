package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/link"
	"scanrelay/configs/wait"
)

// Config configures a Source. What is zero has a default.
type Config struct {
	link.Config
	KeepAlive  time.Duration // default 30 s
	MaxPending int64         // bytes that may wait for their commit; default 16 MiB
	Sessions   string        // the file that remembers which brokers have this agent's MQTT session; "": this process alone does
	Logger     *slog.Logger
	Pulse      *wait.Pulse // of a session's steps; nil: nobody looks at it

	answers time.Duration // how long a SUBSCRIBE may go unanswered, without another message
	pings   time.Duration // how long a ping may go unanswered
	silence time.Duration // longer without a byte is a dead link
	returns time.Duration // between two looks at the brokers before the one in use
}

// Limits of a Source that no configuration changes.
const (
	pingTimeout   = 10 * time.Second
	maxBackoff    = 59 * time.Second
	baseBackoff   = time.Second
	minBackoff    = 50 * time.Millisecond   // spares a broker that accepts and drops
	drainTime     = 1300 * time.Millisecond // for acknowledgements before a disconnect; a stop has link.LeaveTime besides
	steadyAfter   = 30 * time.Second        // a session that lasted so long was a good one
	shortLives    = 3                       // sessions in a row that did not, before another client is suspected
	filtersAtOnce = 8                       // in one SUBSCRIBE: AWS IoT takes no more
	avoidFor      = 10 * time.Minute        // a filter for which a broker closes the connection is not asked for
	rebirthEvery  = 10 * time.Second        // how often edge nodes to be asked are looked for
)

// Source takes scans from an external broker: a persistent session with a fixed
// client id, every message acknowledged by hand after its commit.
type Source struct {
	cfg  Config
	pipe *intake.Pipe
	log  *slog.Logger

	waiting atomic.Int64  // bytes that wait for their commit
	less    chan struct{} // waiting fell

	retained retained
	asking   wait.Rarely // of the log's lines
	// What follows only Run's goroutine has.
	had    map[string]struct{}  // filters that were subscribed to
	kept   memory               // brokers that have this agent's MQTT session
	avoid  map[string]time.Time // filters that are not asked for until then, by broker
	alone  bool                 // one filter a SUBSCRIBE, to find out which one ends the connection
	blamed string               // the one that ended the last, asked for alone
	short  int                  // sessions in a row that were soon lost
	// returns is how long to wait before looking at earlier brokers; only Run's
	// goroutine has it.
	returns time.Duration

	heard, qos0, redelivered, lost, sessions, forgotten atomic.Uint64

	mu     sync.Mutex
	status intake.Status // guarded by mu; the counters are filled in by Status
	broker string        // guarded by mu
}

// New returns a Source that gives what it takes to a pipe; Run starts it, once.
func New(cfg Config, pipe *intake.Pipe) (*Source, error) {
	if len(cfg.Brokers) == 0 {
		return nil, errors.New("mqtt.broker: no broker given")
	}
	for _, b := range cfg.Brokers {
		if err := link.Check(b); err != nil {
			return nil, fmt.Errorf("mqtt.broker: %w", err)
		}
	}
	if cfg.ClientID == "" {
		return nil, errors.New("mqtt.client_id is empty: a persistent session needs a fixed one")
	}
	cfg.KeepAlive = cmp.Or(max(cfg.KeepAlive, 0), 30*time.Second)
	cfg.MaxPending = cmp.Or(max(cfg.MaxPending, 0), 16<<20)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	cfg.answers = cmp.Or(cfg.answers, link.AnswerTimeout)
	cfg.silence = cmp.Or(cfg.silence, cfg.KeepAlive+2*pingTimeout)
	cfg.returns = cmp.Or(cfg.returns, returnAfter)
	return &Source{
		cfg: cfg, pipe: pipe, log: cfg.Logger, less: make(chan struct{}, 1), returns: cfg.returns, asking: wait.Rarely{Every: time.Minute},
		had: make(map[string]struct{}), kept: remembered(cfg), avoid: make(map[string]time.Time),
	}, nil
}

// Broker is the one it is or was last connected to, without password.
func (s *Source) Broker() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broker
}

// Status returns what it is doing.
func (s *Source) Status() intake.Status {
	s.mu.Lock()
	st := s.status
	s.mu.Unlock()
	st.QoS0, st.Lost = s.qos0.Load(), s.lost.Load()
	st.Redelivered, st.Sessions, st.Forgotten = s.redelivered.Load(), s.sessions.Load(), s.forgotten.Load()
	st.Waiting = s.waiting.Load()
	return st
}

// Run takes scans until ctx ends; then it acknowledges what is committed,
// disconnects and returns nil. A broker that is away or refuses is no error:
// it is reported and tried again.
func (s *Source) Run(ctx context.Context) error {
	spacing := wait.Pace(baseBackoff, maxBackoff)
	for ctx.Err() == nil {
		if !s.room(ctx) {
			break
		}
		began := time.Now()
		err := s.serve(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > steadyAfter || errors.Is(err, errNoRoom) || errors.Is(err, errTooMuch) {
			spacing.Reset()
		}
		if errors.Is(err, errReturn) {
			s.log.Info("leaving an mqtt broker", "why", err.Error())
			s.report(false, "", nil)
			continue
		}
		s.report(false, "", s.suspect(err, time.Since(began)))
		wait.Sleep(ctx, minBackoff+spacing.NextBackOff())
	}
	s.report(false, "", nil)
	return nil
}

// suspect adds to the end of sessions that are lost again and again what is most
// likely behind it.
func (s *Source) suspect(err error, lasted time.Duration) error {
	if s.short++; !errors.Is(err, errLost) || lasted > steadyAfter {
		s.short = 0
	}
	if s.short < shortLives {
		return err
	}
	return fmt.Errorf("%w; this happens again and again: does another client use client id %q there?", err, s.cfg.ClientID)
}

// room waits until the outbox has room and half of the memory is free. False
// when ctx ended.
func (s *Source) room(ctx context.Context) bool {
	for {
		full := s.pipe.Full()
		s.mu.Lock()
		s.status.Full = full
		s.mu.Unlock()
		if !full && s.waiting.Load() <= s.cfg.MaxPending/2 {
			return true
		}
		room, less := s.pipe.Room(), s.less
		if full {
			less = nil
		} else {
			room = nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-room:
		case <-less:
		}
	}
}

// serve connects to the first broker that takes us and stays until the
// connection ends.
func (s *Source) serve(ctx context.Context) error {
	var errs []error
	for i, broker := range s.cfg.Brokers {
		ss, over, err := s.connect(ctx, broker)
		if err == nil {
			if i == 0 {
				s.returns = s.cfg.returns
			}
			return s.stay(ctx, ss, over, i)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// connect opens a session at one broker and subscribes. over ends the session's
// goroutine and connection.
func (s *Source) connect(ctx context.Context, broker string) (*session, func(), error) {
	ss := newSession(s, broker) // no result: the connection may tell of its end after a return of nil
	stop := make(chan struct{})
	ss.acked.Add(1)
	go ss.acknowledge(stop)
	over := sync.OnceFunc(func() {
		close(stop)
		if ss.client != nil {
			link.Leave(ss.client)
		}
		ss.acked.Wait()
	})
	client, present, err := link.Connect(ctx, s.cfg.Config, broker, link.Options{
		Keep: true, Manual: true, KeepAlive: s.cfg.KeepAlive, Ping: s.cfg.pings, Silence: s.cfg.silence,
		Most: s.pipe.Mapper().MaxPayload(), Handle: ss.handle,
		Lost: func(err error) { ss.end(fmt.Errorf("%w: %w", errLost, err)) },
	})
	ss.client = client
	if err != nil {
		over()
		return nil, nil, err
	}
	s.session(broker, present)
	if err = s.subscribe(ctx, ss); err != nil {
		over()
		return nil, nil, fmt.Errorf("mqtt broker %s: %w", link.Redacted(broker), err)
	}
	return ss, over, nil
}

// session notes whether a broker has kept this agent's session. Where it has not, what it had
// for us is gone, and nothing else tells of it.
func (s *Source) session(broker string, present bool) {
	switch known := s.kept.add(place{link.Redacted(broker), s.cfg.ClientID}); {
	case present:
	case known:
		s.forgotten.Add(1)
		s.log.Warn("the mqtt broker has forgotten this agent's session, and the scans that it kept in it: let it keep sessions on disk and for long enough",
			"broker", link.Redacted(broker), "client_id", s.cfg.ClientID)
	default:
		s.log.Info("the mqtt broker has no session of this agent: unless this is the first start, what it kept is gone",
			"broker", link.Redacted(broker), "client_id", s.cfg.ClientID)
	}
}

// stay keeps a session at the i-th broker until it ends or ctx does.
func (s *Source) stay(ctx context.Context, ss *session, over func(), i int) error {
	defer over()
	watching, stop := context.WithCancel(ctx)
	earlier, watched := s.earlier(watching, i)
	defer watched() // after the stop
	defer stop()
	s.sessions.Add(1)
	births := s.pipe.Mapper().Births()
	tick := time.NewTicker(rebirthEvery)
	defer tick.Stop()
	for ended := false; !ended; {
		select {
		case <-ss.ended:
			ended = true
		case <-ctx.Done():
			ss.end(errStopping)
		case <-earlier:
			ss.end(errReturn)
		case <-s.pipe.Changed(): // a SUBSCRIBE that is not answered has a bound of its own
			if err := s.subscribe(ctx, ss); err != nil {
				ss.end(err)
			}
		case <-births.Wanted():
			ss.askRebirths(births)
		case <-tick.C:
			ss.askRebirths(births)
		}
	}
	ss.drain(drainTime)
	return fmt.Errorf("mqtt broker %s: %w", link.Redacted(ss.broker), ss.why())
}

// report notes a change of state and logs it once.
func (s *Source) report(connected bool, broker string, err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	s.mu.Lock()
	before := s.status
	s.status.Connected, s.status.Problem = connected, problem
	if broker != "" {
		s.broker = broker
	}
	s.mu.Unlock()
	switch {
	case connected && !before.Connected:
		s.log.Info("subscribed at mqtt broker", "broker", broker, "problem", problem)
	case problem != "" && problem != before.Problem:
		s.log.Warn("mqtt broker is not usable; trying again", "error", problem)
	}
}

// count notes what a message is before anything else happens to it.
func (s *Source) count(msg mqtt.Message) {
	s.heard.Add(1)
	if msg.Qos() == 0 {
		s.qos0.Add(1)
	}
	if msg.Duplicate() {
		s.redelivered.Add(1)
	}
}

// left notes a message that was not taken. The broker sends it again, unless
// its QoS is 0.
func (s *Source) left(msg mqtt.Message) {
	if msg.Qos() == 0 {
		s.lost.Add(1)
	}
}

// release gives memory back.
func (s *Source) release(n int64) {
	if s.waiting.Add(-n) <= s.cfg.MaxPending/2 {
		wait.Signal(s.less)
	}
}
