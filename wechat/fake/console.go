package fake

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// CheckURL makes the console's URL check (wechat/README.md, URL check): a right
// signature must bring the echostr back, a wrong one 403.
func (s *Server) CheckURL(ctx context.Context) error {
	timestamp, nonce := s.stamp()
	q := s.signed(timestamp, nonce)
	q.Set("echostr", "4375120948345356249")
	r, err := s.get(ctx, q)
	switch {
	case err != nil:
		return err
	case r.status != http.StatusOK || string(r.body) != q.Get("echostr"):
		return fmt.Errorf("check callback URL: HTTP %d and %d bytes, want 200 and the echostr alone", r.status, len(r.body))
	case !strings.HasPrefix(r.contentType, "text/plain"):
		return fmt.Errorf("check callback URL: Content-Type %q, want text/plain", r.contentType)
	}
	q.Set("nonce", nonce+"0")
	if r, err = s.get(ctx, q); err != nil {
		return err
	}
	if r.status != http.StatusForbidden || len(r.body) > 0 {
		return fmt.Errorf("check callback URL: a wrong signature got HTTP %d and %d bytes, want 403 and none", r.status, len(r.body))
	}
	return nil
}

func (s *Server) get(ctx context.Context, q url.Values) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Lookup.Timeout)
	defer cancel()
	r, err := s.reach(ctx, http.MethodGet, post{query: q})
	if err != nil {
		return r, fmt.Errorf("check callback URL: %w", err)
	}
	return r, nil
}

// SendTest sends the console's test event (debug_demo), which must be answered
// with `success` in clear, in every mode (wechat/README.md, Reverse lookup).
func (s *Server) SendTest() error {
	body, err := s.send(s.wrap(s.event("debug_demo", text("debug_str", "hello world"))), s.o.Lookup.Timeout)
	if err != nil {
		return fmt.Errorf("send test event: %w", err)
	}
	if string(body) != "success" {
		return fmt.Errorf("send test event: the reply is %d bytes, want success", len(body))
	}
	return nil
}
