package callback_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"scanrelay/wechat/callback"
)

// What a proxy does with slashes costs no call, and one that misses the path is seen
// in the log, with the path and without what it is signed with.
func TestPaths(t *testing.T) {
	signature := callback.Sign(testToken, fmt.Sprint(testTime.Unix()), "n1")
	query := fmt.Sprintf("?signature=%s&timestamp=%d&nonce=n1&echostr=42", signature, testTime.Unix())
	other := fmt.Sprintf("?signature=%s&timestamp=%d&nonce=n1&echostr=42", strings.Repeat("0", 40), testTime.Unix())
	for _, c := range []struct {
		at, target string
		status     int
		logged     string
	}{
		{"/wechat/callback", "/wechat/callback" + query, 200, ""},
		{"/wechat/callback", "//wechat/callback" + query, 200, ""},
		{"/wechat/callback", "/wechat//callback///" + query, 200, ""},
		{"/wechat/callback", "/wechat/callback/" + query, 200, ""},
		{"/wechat/callback", "/./wechat/callback" + query, 200, ""},
		{"/wechat/callback/", "/wechat/callback" + query, 200, ""},
		{"/wechat/callback/", "/wechat/callback/x" + query, 404, "path=/wechat/callback/x"},
		{"/wechat/callback", "/wechat/callbak" + query, 404, "path=/wechat/callbak"},
		{"/wechat/callback", "/api/wechat/callback" + query, 404, "callback_path=/wechat/callback"},
		{"/wechat/callback", "/" + query, 404, "path=/ "},
		{"/wechat/callback", "/" + strings.Repeat("p", 5000) + query, 404, "path=/ppp"},
		{"/wechat/callback", "/wechat/callbak" + other, 404, "not with our token"},
		{"/wechat/callback", "/jsonp/waybill?token=1&id=2", 404, ""},
		{"/wechat/callback", "/wechat/callback" + other, 403, "does not verify"},
	} {
		var log bytes.Buffer
		h := newTestHandler(t, callback.Secure, oneParcel, func(c *callback.Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		}).At(c.at, http.NotFoundHandler())
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(c.target, "?")
		w := serve(h, r)
		if w.Code != c.status || w.Code == 200 && w.Body.String() != "42" {
			t.Errorf("%s: %d %s", c.target, w.Code, w.Body)
		}
		if (c.logged != "") != (log.Len() > 0) || !strings.Contains(log.String(), c.logged) || log.Len() > 500 || strings.Contains(log.String(), signature) {
			t.Errorf("%s: logged %s", c.target, log.String())
		}
	}
}
