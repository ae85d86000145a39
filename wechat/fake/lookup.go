package fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"scanrelay/wechat"
)

// Errcodes of the reverse lookup (wechat/README.md, Error table).
const (
	unreachable = 932001
	refused     = 932002
	abnormal    = 932003
)

const maxReply = 4 << 20

// lookUp asks the carrier about a push and compares its reply with it.
func (s *Server) lookUp(n wechat.Notification, callSeq int) Lookup {
	l := s.ask(n.WaybillID, n.Sender.Phone, n.Receiver.Phone)
	l.CallSeq, l.Pushed = callSeq, n.Path
	if l.Errcode == 0 {
		l.Errcode, l.Problem = compare(l.Reply, n)
	}
	return s.recordLookup(l)
}

// Ask makes one reverse lookup without a push, as WeChat's testers do. Its
// Errcode tells whether the reply was right in form; its data are compared with
// nothing.
func (s *Server) Ask(waybill, senderPhone, receiverPhone string) Lookup {
	return s.recordLookup(s.ask(waybill, senderPhone, receiverPhone))
}

// ask sends the question, up to Tries times while nobody answers.
func (s *Server) ask(waybill, sender, receiver string) Lookup {
	s.mu.Lock()
	rules, resting := s.lookup, s.o.Now().Before(s.restOver)
	s.mu.Unlock()
	l := Lookup{At: s.o.Now(), WaybillID: waybill, SenderPhone: sender, ReceiverPhone: receiver, Mode: s.o.Mode, Format: s.o.Format}
	if resting {
		l.Errcode, l.Problem = unreachable, "not asked: too many lookups in a row reached nobody"
		return l
	}
	fields := s.event("waybill_notify_query",
		text("WaybillId", waybill), text("SenderPhone", sender), text("ReceiverPhone", receiver))
	p := s.wrap(fields)
	var body []byte
	var err error
	for l.Tries = 1; ; l.Tries++ {
		if body, err = s.send(p, rules.Timeout); err == nil || l.Tries == rules.Tries || s.life.Err() != nil {
			break
		}
	}
	s.noteReached(err == nil)
	if err != nil {
		l.Errcode, l.Problem = unreachable, err.Error()
		return l
	}
	if l.Reply, err = s.readReply(p.nonce, body, fields); err != nil {
		l.Errcode, l.Problem = refused, err.Error()
	}
	return l
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

// send makes one POST; an error means that the carrier could not be reached.
func (s *Server) send(p post, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.life, limit)
	defer cancel()
	r, err := s.reach(ctx, http.MethodPost, p)
	switch {
	case err != nil:
		return nil, fmt.Errorf("send lookup: %w", err)
	case r.status != http.StatusOK:
		return nil, fmt.Errorf("the callback answered HTTP %d", r.status)
	case len(r.body) > maxReply:
		return nil, errors.New("the reply is longer than 4 MiB")
	}
	return r.body, nil
}

// response is what the callback answered.
type response struct {
	status      int
	contentType string
	body        []byte
}

// reach makes one request to the callback URL.
func (s *Server) reach(ctx context.Context, method string, p post) (response, error) {
	s.mu.Lock()
	to := s.callback
	s.mu.Unlock()
	if to == "" {
		return response{}, errors.New("no callback URL is set")
	}
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(p.body))
	if err != nil {
		return response{}, err
	}
	req.URL.RawQuery = p.query.Encode()
	req.Header.Set("Content-Type", p.contentType)
	resp, err := s.client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	return response{resp.StatusCode, resp.Header.Get("Content-Type"), body}, err
}
