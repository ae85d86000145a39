package broker

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"scanrelay/agent/intake/packet"
	"scanrelay/agent/intake/topic"
)

// session is what is known of a client beyond its connection: that it was here at
// all, so that it goes on with what was not acknowledged; the QoS 2 publishes that
// it has not released; what it subscribed to. Its id never changes.
type session struct {
	id string

	// Guarded by sessions.mu.
	user    string
	address string        // of its last connection
	lasts   time.Duration // how long it outlives its connection; 0: not at all
	conn    *conn         // nil: it is away
	left    time.Time     // since when it is away
	broke   bool          // its last connection ended without a DISCONNECT, or in an earlier process
	change  uint64        // with which it is on disk; 0: it was found there, or is not kept
	filters []string      // it subscribed to
	taken   takeovers

	all  *atomic.Int64 // of sessions
	mu   sync.Mutex
	open map[uint16]*received // QoS 2 publishes that are not released; guarded by mu
	over bool                 // nothing is remembered any more; guarded by mu
}

// received is a QoS 2 publish on its way to its PUBREL.
type received struct {
	sum  uint64
	q    *queue      // of the connection that it came on last; guarded by session.mu
	safe atomic.Bool // committed: a PUBREC has gone out, or may
}

// Bounds of the QoS 2 publishes that are remembered, of a session and of all. One that
// is forgotten and comes again goes to the outbox again, which knows what it has.
const (
	maxOpen    = 4096
	maxAllOpen = 1 << 16
)

var sumSeed = maphash.MakeSeed()

// receive notes a QoS 2 publish that came on a connection. again tells that it is
// one that came before: same id, same content. Another content under the same id is
// a device that counts anew.
func (s *session) receive(p *packet.Publish, q *queue) (r *received, again bool) {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	_, _ = h.WriteString(p.Topic) // never fails
	_ = h.WriteByte(0)
	_, _ = h.Write(p.Payload)
	sum := h.Sum64()
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.open[p.ID]; r != nil && r.sum == sum {
		return r, true
	}
	s.drop(p.ID)
	for id := range s.open {
		if len(s.open) < maxOpen {
			break
		}
		s.drop(id)
	}
	r = &received{sum: sum, q: q}
	if !s.over && s.all.Load() < maxAllOpen {
		if s.open == nil {
			s.open = make(map[uint16]*received)
		}
		s.open[p.ID] = r
		s.all.Add(1)
	}
	return r, false
}

// drop forgets one. The caller holds mu.
func (s *session) drop(id uint16) {
	if _, ok := s.open[id]; ok {
		delete(s.open, id)
		s.all.Add(-1)
	}
}

// moved reports whether a publish that came again waits on another connection's
// queue, and lets it wait on this one.
func (s *session) moved(r *received, q *queue) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := r.q
	r.q = q
	return was != q
}

// release ends a QoS 2 publish. False: the client says that it has an
// acknowledgement which nobody gave.
func (s *session) release(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.open[id]; r != nil && !r.safe.Load() {
		return false
	}
	s.drop(id)
	return true
}

// forget ends a QoS 2 publish whose packet id stands for another publish now.
func (s *session) forget(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(id)
}

// takeovers counts how often a session changed its connection in the last minute.
type takeovers struct {
	since time.Time
	n     int
}

func (t *takeovers) count(now time.Time) int {
	if now.Sub(t.since) > time.Minute {
		t.since, t.n = now, 0
	}
	t.n++
	return t.n
}

// Bounds of sessions.
const (
	maxSessionLasts  = 30 * 24 * time.Hour
	minSessions      = 4096
	maxFilters       = 64        // of one session
	maxFilterBytes   = 4096      // of one session
	takeoversAllowed = 3         // a minute, before two devices are suspected
	keptForUser      = time.Hour // during which no other user gets the id of one that is away
	endKnown         = time.Hour // how long a client without a session is remembered for how it ended
)

// alive reports whether a client that comes back goes on with the session.
func (s *session) alive(now time.Time) bool { return s.conn != nil || now.Sub(s.left) < s.lasts }

// owned reports whether the session is kept for its user: while he is connected, and
// for an hour after. A device that was given another user gets its id then, or at once
// where the one before is no user any more.
func (s *session) owned(now time.Time, isUser func(name string) bool) bool {
	return isUser(s.user) && (s.conn != nil || now.Sub(s.left) < min(s.lasts, keptForUser))
}

// gone reports whether nothing has to be known of the session any more.
func (s *session) gone(now time.Time) bool {
	return s.conn == nil && now.Sub(s.left) >= max(s.lasts, endKnown)
}

// sessions are those of all clients.
type sessions struct {
	most   int
	isUser func(name string) bool
	all    atomic.Int64 // QoS 2 publishes that are remembered

	mu   sync.Mutex
	byID map[string]*session // guarded by mu
	file keeper
}

func newSessions(most int, isUser func(name string) bool) *sessions {
	return &sessions{most: most, isUser: isUser, byID: make(map[string]*session)}
}

// opened is what a client gets.
type opened struct {
	session *session
	present bool   // it goes on with what it was before
	known   bool   // it was here before
	broke   bool   // and its last connection ended without a DISCONNECT
	before  *conn  // what it was connected by, to be closed
	often   bool   // it was taken over often lately: two devices share the id
	change  uint64 // that has to be on disk before it may rely on the session; 0: none
}

// open gives the client of c its session. false: the id belongs to another user.
func (s *sessions) open(c *conn, in *packet.Connect, lasts time.Duration, now time.Time) (o opened, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.byID[in.ClientID]
	kept := false // on disk is one of this client, or will be with its change
	if was != nil {
		same := was.user == in.Username
		if !same && was.owned(now, s.isUser) {
			return o, false
		}
		kept = same && was.alive(now) && was.lasts > 0
		o.known, o.broke, o.before, o.present = true, was.broke, was.conn, kept && !in.Clean
		o.often = was.conn != nil && was.taken.count(now) >= takeoversAllowed
	}
	next := was
	if !o.present {
		next = &session{id: in.ClientID, all: &s.all}
		if was != nil {
			next.taken = was.taken
			s.remove(was)
			was.conn = nil
		}
		s.makeRoom(now)
		s.byID[in.ClientID] = next
	}
	switch {
	case kept:
		if next.change = was.change; was.lasts != lasts || len(was.filters) != len(next.filters) {
			s.file.change()
		}
	case lasts > 0:
		next.change = s.file.change()
	}
	o.change = next.change
	next.conn, next.user, next.lasts, next.address, next.broke = c, in.Username, lasts, c.host, true
	o.session = next
	return o, true
}

// lasting reports whether a client has a session that outlives its connection.
func (s *sessions) lasting(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.byID[id]
	return one != nil && one.lasts > 0
}

// connected is the connection that a client has; nil: none.
func (s *sessions) connected(id string) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.byID[id]; one != nil {
		return one.conn
	}
	return nil
}

// remove forgets a session. The caller holds mu.
func (s *sessions) remove(one *session) {
	delete(s.byID, one.id)
	one.mu.Lock()
	defer one.mu.Unlock()
	s.all.Add(-int64(len(one.open)))
	one.open, one.over = nil, true
}

// makeRoom forgets, if there are too many, all that is known of clients that are away
// without a session, else one that is away: for longest, of the address that has most.
// The caller holds mu.
func (s *sessions) makeRoom(now time.Time) {
	if len(s.byID) < s.most {
		return
	}
	count := make(map[string]int)
	for _, one := range s.byID {
		if one.gone(now) || one.conn == nil && one.lasts == 0 {
			s.remove(one)
		} else if one.conn == nil {
			count[one.address]++
		}
	}
	if len(s.byID) < s.most {
		return
	}
	var oldest *session
	for _, one := range s.byID {
		if one.conn != nil {
			continue
		}
		if oldest == nil || count[one.address] > count[oldest.address] ||
			count[one.address] == count[oldest.address] && one.left.Before(oldest.left) {
			oldest = one
		}
	}
	if oldest != nil {
		s.remove(oldest)
	}
}

// leave notes that a connection has ended, and whether with a DISCONNECT.
func (s *sessions) leave(c *conn, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := c.session
	if one == nil || one.conn != c {
		return
	}
	one.conn, one.left, one.broke = nil, now, !c.ended
}

// sweep forgets the sessions that have ended.
func (s *sessions) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.byID {
		if one.gone(now) {
			s.remove(one)
		}
	}
}

// setLasts changes how long a session outlives its connection.
func (s *sessions) setLasts(c *conn, lasts time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.session.lasts = lasts
	s.file.change()
}

// subscribe adds a filter to a session. false: it has too many.
func (s *sessions) subscribe(one *session, filter string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(one.filters, filter) {
		return true
	}
	if len(one.filters) >= maxFilters || len(strings.Join(one.filters, ""))+len(filter) > maxFilterBytes {
		return false
	}
	one.filters = append(one.filters, filter)
	if one.lasts > 0 {
		s.file.change()
	}
	return true
}

// unsubscribe reports whether the session had the filter.
func (s *sessions) unsubscribe(one *session, filter string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(one.filters, filter)
	if i < 0 {
		return false
	}
	one.filters = slices.Delete(slices.Clone(one.filters), i, i+1)
	if one.lasts > 0 {
		s.file.change()
	}
	return true
}

// subscribers are the connections of those who subscribed to a topic.
func (s *sessions) subscribers(name string) (list []*conn) {
	levels := strings.Split(name, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.byID {
		if one.conn != nil && slices.ContainsFunc(one.filters, func(text string) bool {
			f, err := topic.Parse(text)
			return err == nil && f.Match(levels)
		}) {
			list = append(list, one.conn)
		}
	}
	return list
}
