package wechat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scanrelay/configs/secret"
)

// The calls by the names that errors and metrics show.
const (
	APIStableToken = "stable_token"
	APIUserQuery   = "userquery"
	APIPathNotify  = "pathnotify"
	APIQuota       = "quota"
)

// Where the calls are served. Quota takes such a path, too.
const (
	StableTokenPath = "/cgi-bin/stable_token"
	UserQueryPath   = "/cgi-bin/express/delivery/userquery"
	PathNotifyPath  = "/cgi-bin/express/delivery/pathnotify"
	QuotaPath       = "/cgi-bin/openapi/quota/get"
)

// Limits of whole calls. WeChat may ask central three times at 5 s within one
// pathnotify.
const (
	TokenLimit      = 10 * time.Second
	UserQueryLimit  = 10 * time.Second
	PathNotifyLimit = 25 * time.Second
	QuotaLimit      = 10 * time.Second
)

// AccessToken is what stable_token gives.
type AccessToken struct {
	Value     secret.Text
	ExpiresIn time.Duration // from now; just fetched at least 300 s
}

// maxTokenLife bounds expires_in, which is 7200 s.
const maxTokenLife = 24 * time.Hour

// StableToken asks for the appid's access token. force voids the old one at
// once (20 a day, at least 30 s apart): only for a leaked token, never by
// itself. The class of a refusal is never BadToken: see Error.Class.
func (c *Client) StableToken(ctx context.Context, appid string, appSecret secret.Text, force bool) (AccessToken, error) {
	k := call{api: APIStableToken, path: StableTokenPath, limit: TokenLimit, hidden: []secret.Text{appSecret}, body: struct {
		GrantType string `json:"grant_type"`
		AppID     string `json:"appid"`
		Secret    string `json:"secret"`
		Force     bool   `json:"force_refresh"`
	}{"client_credential", appid, appSecret.Reveal(), force}}
	var answer struct {
		Token     string `json:"access_token"`
		ExpiresIn int64  `json:"expires_in"` // seconds
	}
	if err := c.do(ctx, k, &answer); err != nil {
		return AccessToken{}, err
	}
	if answer.Token == "" || answer.ExpiresIn <= 0 {
		return AccessToken{}, odd(k, "answer has no access_token or no expires_in")
	}
	life := time.Duration(min(answer.ExpiresIn, int64(maxTokenLife/time.Second))) * time.Second
	return AccessToken{Value: secret.Text(answer.Token), ExpiresIn: life}, nil
}

// UserQuery asks whether the phone is bound to WeChat's express service.
func (c *Client) UserQuery(ctx context.Context, token secret.Text, phone string) (exist bool, err error) {
	k := call{api: APIUserQuery, path: UserQueryPath, token: token, limit: UserQueryLimit, body: struct {
		Phone string `json:"phone"`
	}{phone}}
	if phone == "" {
		return false, refuse(k, fmt.Errorf("%w: phone is missing", ErrInvalid))
	}
	var answer struct {
		Exist *int `json:"exist"`
	}
	if err := c.do(ctx, k, &answer); err != nil {
		return false, err
	}
	if answer.Exist == nil {
		return false, odd(k, "answer has no exist")
	}
	return *answer.Exist != 0, nil
}

// PathNotify pushes one node. exist tells whether the receiver's phone is
// bound; where it is not, WeChat took the call and shows nothing.
//
// The node must be in the central snapshot before. A call whose Error has Sent
// set may have had its effect.
func (c *Client) PathNotify(ctx context.Context, token secret.Text, n Notification) (exist bool, err error) {
	k := call{api: APIPathNotify, path: PathNotifyPath, token: token, limit: PathNotifyLimit, body: n}
	if err := n.Validate(); err != nil {
		return false, refuse(k, err)
	}
	var answer struct {
		Code  *int `json:"errcode"`
		Exist *int `json:"exist"`
	}
	if err := c.do(ctx, k, &answer); err != nil {
		return false, err
	}
	switch {
	case answer.Exist != nil:
		return *answer.Exist != 0, nil
	case answer.Code != nil: // an explicit 0: done, and not said to be unbound
		return true, nil
	}
	return false, odd(k, "answer has neither errcode nor exist")
}

// Quota is what an API may be called and was, today, by the whole fleet.
type Quota struct {
	Daily, Used, Remain int64
	// RateCalls calls are allowed in RatePeriod; 0 where WeChat does not say.
	RateCalls  int64
	RatePeriod time.Duration
}

// Quota asks for the quota of the API at cgiPath, PathNotifyPath for instance.
// Ask every few minutes at most, and from central only.
func (c *Client) Quota(ctx context.Context, token secret.Text, cgiPath string) (Quota, error) {
	k := call{api: APIQuota, path: QuotaPath, token: token, limit: QuotaLimit, body: struct {
		Path string `json:"cgi_path"`
	}{cgiPath}}
	var answer struct {
		Quota *struct {
			Daily  int64 `json:"daily_limit"`
			Used   int64 `json:"used"`
			Remain int64 `json:"remain"`
		} `json:"quota"`
		Rate struct {
			Calls  int64 `json:"call_count"`
			Period int64 `json:"refresh_second"`
		} `json:"rate_limit"`
	}
	if err := c.do(ctx, k, &answer); err != nil {
		return Quota{}, err
	}
	if answer.Quota == nil {
		return Quota{}, odd(k, "answer has no quota")
	}
	period := time.Duration(min(max(answer.Rate.Period, 0), 24*60*60)) * time.Second
	return Quota{
		Daily: answer.Quota.Daily, Used: answer.Quota.Used, Remain: answer.Quota.Remain,
		RateCalls: answer.Rate.Calls, RatePeriod: period,
	}, nil
}

// refuse is the error of a call that was not made.
func refuse(k call, why error) error { return &Error{API: k.api, Err: why} }

// odd is the error of an answer that lacks what it must have: a transport
// fault, since something other than WeChat may have answered.
func odd(k call, what string) error {
	return &Error{API: k.api, Status: 200, Sent: true, Err: errors.New(what)}
}
