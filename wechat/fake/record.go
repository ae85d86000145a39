package fake

import (
	"slices"
	"time"

	"scanrelay/wechat"
)

// Push is one message that WeChat showed to a receiver.
type Push struct {
	Seq        int // among pushes, from 1, in the order in which they were accepted
	At         time.Time
	CallSeq    int // the call that brought it
	WaybillID  string
	Sender     Party
	Receiver   Party
	Node       Node
	CreateTime int64
}

// Call is one API call, with what it got and why.
type Call struct {
	Seq       int
	At        time.Time
	Took      time.Duration
	API       API
	Method    string
	Remote    string
	WaybillID string
	Phone     string
	Errcode   int
	Status    int // HTTP; 0 is 200
	Exist     bool
	Dropped   bool   // the connection was dropped instead of an answer
	Fault     string // what the script did; "" for nothing
	Problem   string // why it was refused; WeChat itself does not tell
	RID       string
}

// Lookup is one reverse lookup, with all its tries.
type Lookup struct {
	Seq           int
	At            time.Time
	Took          time.Duration
	CallSeq       int // the pathnotify call it belongs to; 0 for Ask
	WaybillID     string
	Pushed        Node // what the call wants to push; zero for Ask
	SenderPhone   string
	ReceiverPhone string
	Mode          Mode
	Format        Format
	Tries         int
	Reply         Reply
	Errcode       int    // 0, 932001, 932002, 932003
	Problem       string // why
}

// Reply is the carrier's answer to a reverse lookup.
type Reply struct {
	ResultCode int
	ResultMsg  string
	CreateTime int64 // WaybillCreateTime
	Path       []Node
}

// keep bounds how many calls and lookups are remembered. Pushes are all kept:
// they are what tests compare.
const keep = 200_000

// records is what happened; the server's lock guards it.
type records struct {
	seq     int // of calls
	lookSeq int
	pushSeq int
	pushes  []Push
	calls   []Call
	lookups []Lookup
	byErr   map[result]int
}

// result is what Count counts.
type result struct {
	api  API
	code int
}

// finish records the call.
func (s *Server) finish(call Call, a answer) {
	call.Took = s.o.Now().Sub(call.At)
	call.Status, call.Dropped, call.Problem = a.status, a.drop, a.detail
	if a.code != 0 {
		call.Errcode = a.code
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = keepLast(append(s.calls, call))
	s.byErr[result{call.API, call.code()}]++
}

// push records what the receiver now sees and calls the hook.
func (s *Server) push(n wechat.Notification, call *Call) {
	s.mu.Lock()
	s.pushSeq++
	p := Push{Seq: s.pushSeq, At: s.o.Now(), CallSeq: call.Seq, WaybillID: n.WaybillID,
		Sender: n.Sender, Receiver: n.Receiver, Node: n.Path, CreateTime: n.CreateTime}
	s.pushes = append(s.pushes, p)
	s.mu.Unlock()
	if s.o.OnPush != nil {
		s.o.OnPush(p)
	}
}

func (s *Server) recordLookup(l Lookup) Lookup {
	l.Took = s.o.Now().Sub(l.At)
	s.mu.Lock()
	s.lookSeq++
	l.Seq = s.lookSeq
	s.lookups = keepLast(append(s.lookups, l))
	s.mu.Unlock()
	if s.o.OnLookup != nil {
		s.o.OnLookup(l)
	}
	return l
}

// keepLast drops the older half when a list has outgrown twice its bound.
func keepLast[T any](list []T) []T {
	if len(list) < 2*keep {
		return list
	}
	return slices.Clone(list[len(list)-keep:])
}

// Pushes returns all messages that were pushed, in order.
func (s *Server) Pushes() []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pushes)
}

// Calls returns the API calls that are remembered, in order of their end.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Lookups returns the reverse lookups that are remembered, in order of their end.
func (s *Server) Lookups() []Lookup {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lookups)
}

// Unanswered is what Count counts dropped connections under.
const Unanswered = -1000

// code is what the caller saw: an errcode, an HTTP status other than 200, or
// Unanswered.
func (c Call) code() int {
	switch {
	case c.Dropped:
		return Unanswered
	case c.Status != 0 && c.Status != 200:
		return c.Status
	}
	return c.Errcode
}

// Count returns how many calls of an API were answered with that errcode (0 for
// success), HTTP status (429, 503, …) or not at all (Unanswered).
func (s *Server) Count(api API, errcode int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byErr[result{api, errcode}]
}
