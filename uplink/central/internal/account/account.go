package account

import (
	"context"
	"fmt"
	"sync"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/wechat"
)

// Script is a WeChat that answers as it is told.
type Script struct {
	Answer   func(call int) (wechat.AccessToken, error)
	Wrong    secret.Text                             // an AppSecret that is refused, whatever Answer says
	OfQuotas func(path string) (wechat.Quota, error) // nil: not granted

	mu                           sync.Mutex
	calls, forced, running, most int
	hold                         chan struct{} // if set, a call waits for it
}

func (s *Script) StableToken(ctx context.Context, _ string, text secret.Text, force bool) (wechat.AccessToken, error) {
	s.mu.Lock()
	s.calls++
	n := s.calls
	s.running++
	s.most = max(s.most, s.running)
	if force {
		s.forced++
	}
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if s.Wrong != "" && text == s.Wrong {
		return wechat.AccessToken{}, &wechat.Error{API: wechat.APIStableToken, Code: 40125, Msg: "invalid appsecret"}
	}
	return s.Answer(n)
}

func (s *Script) Quota(_ context.Context, _ secret.Text, path string) (wechat.Quota, error) {
	if s.OfQuotas == nil {
		return wechat.Quota{}, &wechat.Error{API: wechat.APIQuota, Code: 48001, Msg: "api unauthorized"}
	}
	return s.OfQuotas(path)
}

// Count is how often a token was asked for.
func (s *Script) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Always gives that token.
func Always(text string) *Script {
	return &Script{Answer: func(int) (wechat.AccessToken, error) {
		return wechat.AccessToken{Value: secret.Text(text), ExpiresIn: 2 * time.Hour}, nil
	}}
}

// Numbered gives another text with each call: token-1, token-2 …
func Numbered(life time.Duration) *Script {
	return &Script{Answer: func(n int) (wechat.AccessToken, error) {
		return wechat.AccessToken{Value: secret.Text(fmt.Sprintf("token-%d", n)), ExpiresIn: life}, nil
	}}
}

// Hold lets calls wait from now on, until the returned function is called.
func (s *Script) Hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = make(chan struct{})
	return func() { close(s.hold) }
}

// Locked runs fn while no call is answered.
func (s *Script) Locked(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

// Bad tells how many calls forced a refresh, and how many ran at once at most.
func (s *Script) Bad() (forced, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forced, s.most
}
