package fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Errcodes of the reverse lookup (wechat/README.md, Error table).
const (
	unreachable = 932001
	refused     = 932002
	abnormal    = 932003
)

const maxReply = 4 << 20

// lookUp asks the carrier about a push and judges its reply.
func (s *Server) lookUp(n notification, callSeq int) Lookup {
	l := s.ask(n.waybill, n.sender.Phone, n.receiver.Phone)
	l.CallSeq, l.Pushed = callSeq, n.node
	if l.Errcode == 0 {
		l.Errcode, l.Problem = judge(l.Reply, n)
	}
	l.Took = s.o.Now().Sub(l.At)
	return s.recordLookup(l)
}

// Ask makes one reverse lookup without a push, as WeChat's testers do. Its
// Errcode tells whether the reply was right in form; its data are not judged.
func (s *Server) Ask(waybill, senderPhone, receiverPhone string) Lookup {
	l := s.ask(waybill, senderPhone, receiverPhone)
	l.Took = s.o.Now().Sub(l.At)
	return s.recordLookup(l)
}

// ask sends the question, up to Tries times while nobody answers.
func (s *Server) ask(waybill, sender, receiver string) Lookup {
	s.mu.Lock()
	to, m, f, rules, resting := s.callback, s.mode, s.format, s.lookup, s.o.Now().Before(s.restOver)
	s.mu.Unlock()
	l := Lookup{At: s.o.Now(), WaybillID: waybill, SenderPhone: sender, ReceiverPhone: receiver, Mode: m, Format: f}
	if resting {
		l.Errcode, l.Problem = unreachable, "not asked: too many lookups in a row reached nobody"
		return l
	}
	fields := s.event("waybill_notify_query",
		text("WaybillId", waybill), text("SenderPhone", sender), text("ReceiverPhone", receiver))
	p := s.seal(m, f, fields)
	var body []byte
	var err error
	for l.Tries = 1; ; l.Tries++ {
		if body, err = s.send(to, p, rules.Timeout); err == nil || l.Tries == rules.Tries || s.life.Err() != nil {
			break
		}
	}
	s.noteReached(err == nil)
	if err != nil {
		l.Errcode, l.Problem = unreachable, err.Error()
		return l
	}
	if l.Reply, err = s.readReply(m, f, p.nonce, body, fields); err != nil {
		l.Errcode, l.Problem = refused, err.Error()
	}
	return l
}

// send makes one POST; an error means that the carrier could not be reached.
func (s *Server) send(to string, p post, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.life, limit)
	defer cancel()
	target, err := callbackURL(to, p.query)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(p.body))
	if err != nil {
		return nil, fmt.Errorf("make lookup: %w", err)
	}
	req.Header.Set("Content-Type", p.contentType)
	return s.roundTrip(req)
}

func callbackURL(to string, query url.Values) (string, error) {
	if to == "" {
		return "", errors.New("no callback URL is set")
	}
	u, err := url.Parse(to)
	if err != nil {
		return "", fmt.Errorf("parse callback URL: %w", err)
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

func (s *Server) roundTrip(req *http.Request) ([]byte, error) {
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("send lookup: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read reply: %w", err)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the callback answered HTTP %d", resp.StatusCode)
	case len(body) > maxReply:
		return nil, errors.New("the reply is longer than 4 MiB")
	}
	return body, nil
}

// noteReached keeps MarkFail's count (wechat/README.md, Callback).
func (s *Server) noteReached(reached bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reached {
		s.fails = 0
		return
	}
	if s.fails++; s.lookup.MarkFailAfter > 0 && s.fails >= s.lookup.MarkFailAfter {
		s.fails, s.restOver = 0, s.o.Now().Add(s.lookup.MarkFailFor)
	}
}

// CheckURL makes the console's URL check (wechat/README.md, URL check): a right
// signature must bring the echostr back, a wrong one 403.
func (s *Server) CheckURL(ctx context.Context) error {
	timestamp, nonce := s.stamp()
	q := s.signed(timestamp, nonce)
	q.Set("echostr", "4375120948345356249")
	status, contentType, body, err := s.get(ctx, q)
	if err != nil {
		return fmt.Errorf("check callback URL: %w", err)
	}
	if status != http.StatusOK || string(body) != q.Get("echostr") {
		return fmt.Errorf("check callback URL: HTTP %d and %d bytes, want 200 and the echostr alone", status, len(body))
	}
	if !bytes.HasPrefix([]byte(contentType), []byte("text/plain")) {
		return fmt.Errorf("check callback URL: Content-Type %q, want text/plain", contentType)
	}
	q.Set("nonce", nonce+"0")
	if status, _, body, err = s.get(ctx, q); err != nil {
		return fmt.Errorf("check callback URL: %w", err)
	}
	if status != http.StatusForbidden || len(body) > 0 {
		return fmt.Errorf("check callback URL: a wrong signature got HTTP %d and %d bytes, want 403 and none", status, len(body))
	}
	return nil
}

func (s *Server) get(ctx context.Context, q url.Values) (status int, contentType string, body []byte, err error) {
	s.mu.Lock()
	to := s.callback
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.o.LookupTimeout)
	defer cancel()
	target, err := callbackURL(to, q)
	if err != nil {
		return 0, "", nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, "", nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxReply))
	return resp.StatusCode, resp.Header.Get("Content-Type"), body, err
}

// SendTest sends the console's test event (debug_demo), which must be answered
// with `success` in clear, in every mode (wechat/README.md, Reverse lookup).
func (s *Server) SendTest() error {
	s.mu.Lock()
	to, m, f := s.callback, s.mode, s.format
	s.mu.Unlock()
	p := s.seal(m, f, s.event("debug_demo", text("debug_str", "hello world")))
	body, err := s.send(to, p, s.o.LookupTimeout)
	if err != nil {
		return fmt.Errorf("send test event: %w", err)
	}
	if string(body) != "success" {
		return fmt.Errorf("send test event: the reply is %d bytes, want success", len(body))
	}
	return nil
}
