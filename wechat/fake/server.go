package fake

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"time"

	"scanrelay/configs/wait"
)

// API names one of WeChat's interfaces.
type API string

// The interfaces that this package serves.
const (
	StableToken API = "stable_token"
	UserQuery   API = "userquery"
	PathNotify  API = "pathnotify"
	QuotaGet    API = "quota"
)

var paths = map[string]API{
	"/cgi-bin/stable_token":                StableToken,
	"/cgi-bin/express/delivery/userquery":  UserQuery,
	"/cgi-bin/express/delivery/pathnotify": PathNotify,
	"/cgi-bin/openapi/quota/get":           QuotaGet,
}

const maxBody = 1 << 20

// Server is a fake WeChat. It is an http.Handler; every method may be called
// from any goroutine.
type Server struct {
	o      Options
	crypt  *crypt
	client *http.Client
	life   context.Context // ends with Close
	end    context.CancelFunc

	mu       sync.Mutex // guards all below
	rng      *rand.Rand
	tokens   tokenBook
	quotas   quotaBook
	faults   faultBook
	callback string
	bound    map[string]bool
	down     bool
	lookup   LookupRules
	fails    int       // lookups in a row that reached nobody
	restOver time.Time // no lookups before this (MarkFail)
	records
}

// New makes a fake WeChat. Errors: an AESKey that is none, a script that asks
// for what it does not know.
func New(o Options) (*Server, error) {
	o = o.withDefaults()
	if o.Mode != Plain && o.Mode != Compat && o.Mode != Secure {
		return nil, fmt.Errorf("make fake wechat: mode %q is none of plain, compat, secure", o.Mode)
	}
	if o.Format != JSON && o.Format != XML {
		return nil, fmt.Errorf("make fake wechat: format %q is neither json nor xml", o.Format)
	}
	c, err := newCrypt(o.Token, o.AESKey, o.AppID)
	if err != nil {
		return nil, fmt.Errorf("make fake wechat: %w", err)
	}
	s := &Server{
		o: o, crypt: c, callback: o.Callback, lookup: o.Lookup,
		rng: newRand(o.Seed, "ids"), bound: map[string]bool{},
		client: &http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.byErr = map[result]int{}
	s.tokens = tokenBook{life: o.TokenLife, ends: map[string]time.Time{}}
	s.quotas = newQuotaBook(o.Quotas)
	if err := s.SetScript(o.Script); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends delays and lookups that are under way and closes idle connections
// to the callback. The http.Server around it is closed by its owner.
func (s *Server) Close() {
	s.end()
	s.client.CloseIdleConnections()
}

// SetCallback sets the URL of the reverse lookup; "" means nobody answers.
func (s *Server) SetCallback(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.callback = url
}

// Bind makes a phone bound or not bound in WeChat.
func (s *Server) Bind(phone string, bound bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bound[phone] = bound
}

// SetDown makes every connection drop before anything happens, until it is
// called with false.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *Server) isBound(phone string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.bound[phone]; ok {
		return b
	}
	return s.o.BoundByDefault
}

// ServeHTTP serves the APIs, and below / the page of what was pushed.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	api, ok := paths[r.URL.Path]
	if !ok {
		s.servePage(w, r)
		return
	}
	body, readErr := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	call, plan := s.begin(api, r)
	if plan.down {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	a := s.answer(r, body, readErr, &call, plan)
	if len(a.body) == 0 && !a.drop {
		a.body = a.encode(call.RID)
	}
	s.finish(call, a)
	s.write(w, a, plan)
}

// begin gives the call its number and request id and decides its faults.
func (s *Server) begin(api API, r *http.Request) (Call, plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	call := Call{Seq: s.seq, At: s.o.Now(), API: api, Remote: r.RemoteAddr, RID: s.rid(), Method: r.Method}
	p := s.faults.next(api)
	p.down = s.down
	call.Fault = p.what
	return call, p
}

// answer makes the call's answer: scripted before the effect, real, or scripted
// after the effect.
func (s *Server) answer(r *http.Request, body []byte, readErr error, call *Call, p plan) answer {
	wait.Sleep(s.life, p.before.Delay)
	if p.before.spoils() {
		return p.before.answer(call)
	}
	a := s.handle(r, body, readErr, call, p.exist)
	wait.Sleep(s.life, p.after.Delay)
	if p.after.spoils() {
		call.Errcode = a.code
		return p.after.answer(call)
	}
	return a
}

func (s *Server) handle(r *http.Request, body []byte, readErr error, call *Call, exist *bool) answer {
	if r.Method != http.MethodPost {
		return refuse(43002, "method is %s", r.Method)
	}
	if call.API != StableToken {
		if code := s.checkToken(r.URL.Query().Get("access_token")); code != 0 {
			return refuse(code, "access_token refused")
		}
	}
	if a, over := s.spend(call.API); over {
		return a
	}
	if a, bad := checkBody(r.Header.Get("Content-Type"), body, readErr); bad {
		return a
	}
	switch call.API {
	case StableToken:
		return s.stableToken(body)
	case UserQuery:
		return s.userQuery(body, call, exist)
	case PathNotify:
		return s.pathNotify(body, call, exist)
	default:
		return s.quotaGet(body)
	}
}

func checkBody(contentType string, body []byte, readErr error) (answer, bool) {
	if readErr != nil {
		return refuse(47001, "read body: %v", readErr), true
	}
	if len(body) == 0 {
		return refuse(44002, "the body is empty"), true
	}
	if media, _, err := mime.ParseMediaType(contentType); err != nil || media != "application/json" {
		return refuse(47001, "Content-Type is %q, want application/json", contentType), true
	}
	return answer{}, false
}

// write sends the answer, or drops the connection where the script says so.
func (s *Server) write(w http.ResponseWriter, a answer, p plan) {
	if a.drop {
		panic(http.ErrAbortHandler)
	}
	if a.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(a.retryAfter/time.Second)))
	}
	w.Header().Set("Content-Type", "application/json; encoding=utf-8") // as WeChat writes it
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	if p.slow == 0 {
		w.Write(a.body) // a caller that has gone is no concern of ours
		return
	}
	half := len(a.body) / 2
	w.Write(a.body[:half])
	http.NewResponseController(w).Flush()
	wait.Sleep(s.life, p.slow)
	w.Write(a.body[half:])
}

// answer is what one call gets.
type answer struct {
	code       int
	msg        string // errmsg without the request id; "" for the code's own
	detail     string // for the records only
	fields     map[string]any
	status     int // HTTP; 0 is 200
	retryAfter time.Duration
	body       []byte // empty: made of code, msg and fields
	drop       bool
}

func refuse(code int, detail string, args ...any) answer {
	return answer{code: code, detail: fmt.Sprintf(detail, args...)}
}

// encode makes the body. An error's errmsg ends with the request id.
func (a answer) encode(rid string) []byte {
	fields := map[string]any{}
	maps.Copy(fields, a.fields)
	if _, token := fields["access_token"]; !token {
		fields["errcode"], fields["errmsg"] = a.code, "ok"
	}
	if a.code != 0 {
		fields["errmsg"] = cmp.Or(a.msg, errmsgs[a.code], "error") + " rid: " + rid
	}
	b, err := json.Marshal(fields)
	if err != nil {
		panic(fmt.Sprintf("encode fake answer: %v", err)) // only our own types are in it
	}
	return b
}

// rid makes a request id in WeChat's form; s.mu is held.
func (s *Server) rid() string {
	return fmt.Sprintf("%08x-%08x-%08x", s.rng.Uint32(), s.rng.Uint32(), s.rng.Uint32())
}
