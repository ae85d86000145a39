package callback_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"scanrelay/configs/secret"
	"scanrelay/wechat/callback"
)

const (
	nextToken secret.Text = "theTokenToCome"
	nextKey   secret.Text = "ZYXWVUTSRQPONMLKJIHGFEDCBAzyxwvutsrqponmlkj"
)

// under is the sender with another Token and EncodingAESKey.
func (s sender) under(t *testing.T, token, key secret.Text) sender {
	t.Helper()
	var err error
	s.token = token
	if s.crypt, err = callback.NewCrypt(token, key, testAppID); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSecretsAreChanged: while Token and EncodingAESKey are changed in WeChat's console
// both count, in every mix; the answer is under what the question was under, and
// afterwards the old ones count no more.
func TestSecretsAreChanged(t *testing.T) {
	everyWay(t, func(t *testing.T, s sender) {
		var log bytes.Buffer
		h := newTestHandler(t, s.mode, oneParcel, func(c *callback.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		old, next := [2]secret.Text{testToken, testKey}, [2]secret.Text{nextToken, nextKey}
		mixes := [][2]secret.Text{old, next, {testToken, nextKey}, {nextToken, testKey}}
		step := func(name string, c callback.Config, good func(mix [2]secret.Text) bool) {
			t.Helper()
			use, err := h.Prepare(c)
			if err != nil {
				t.Fatal(err)
			}
			use()
			for i, mix := range mixes {
				from := s.under(t, mix[0], mix[1])
				w := serve(h, from.request(lookupOf("waybill_notify_query", "YT1")))
				if want := good(mix); (w.Code == http.StatusOK) != want {
					t.Errorf("%s, mix %d: %d", name, i, w.Code)
				} else if want && from.read(t, w).ResultCode != 0 {
					t.Errorf("%s, mix %d: the answer is none", name, i)
				}
			}
		}
		plain := s.mode == callback.Plain // which has no keys
		step("before", callback.Config{Token: testToken, EncodingAESKey: testKey}, func(m [2]secret.Text) bool { return m[0] == testToken && (plain || m[1] == testKey) })
		if strings.Contains(log.String(), "replaced") {
			t.Errorf("the log: %s", log.String())
		}
		step("while both are changed", callback.Config{Token: nextToken, TokenOld: testToken, EncodingAESKey: nextKey, EncodingAESKeyOld: testKey},
			func([2]secret.Text) bool { return true })
		if n := strings.Count(log.String(), "WeChat still uses what is being replaced"); n != 1 || !strings.Contains(log.String(), "token_old") {
			t.Errorf("%d lines: %s", n, log.String())
		}
		step("after", callback.Config{Token: nextToken, EncodingAESKey: nextKey}, func(m [2]secret.Text) bool { return m[0] == nextToken && (plain || m[1] == nextKey) })
	})
}

// TestSecretsOfTheURLCheck: the console's check is answered under either token.
func TestSecretsOfTheURLCheck(t *testing.T) {
	h := newTestHandler(t, callback.Secure, oneParcel, func(c *callback.Config) { c.Token, c.TokenOld = nextToken, testToken })
	for _, c := range []struct {
		token secret.Text
		want  int
	}{{testToken, 200}, {nextToken, 200}, {"another", 403}} {
		stamp := fmt.Sprint(testTime.Unix())
		q := url.Values{"signature": {callback.Sign(c.token.Reveal(), stamp, testNonce)}, "timestamp": {stamp}, "nonce": {testNonce}, "echostr": {"12345"}}
		r, err := http.NewRequest("GET", "/?"+q.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if w := serve(h, r); w.Code != c.want || c.want == 200 && w.Body.String() != "12345" {
			t.Errorf("%d: %d %s", len(c.token), w.Code, w.Body)
		}
	}
}

// TestPrepareRefuses: what cannot be used changes nothing.
func TestPrepareRefuses(t *testing.T) {
	s := newSender(t, callback.Secure, formatJSON)
	h := newTestHandler(t, s.mode, oneParcel)
	for says, c := range map[string]callback.Config{
		"token is missing": {EncodingAESKey: nextKey},
		"has 3 characters": {Token: nextToken, EncodingAESKey: "abc"},
		"encoding_aes_key_old: encoding_aes_key has characters": {Token: nextToken, EncodingAESKey: nextKey, EncodingAESKeyOld: "-BCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefg"},
	} {
		if use, err := h.Prepare(c); use != nil || err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	if w := serve(h, s.request(lookupOf("waybill_notify_query", "YT1"))); w.Code != http.StatusOK {
		t.Errorf("after refusals: %d", w.Code)
	}
}
