package wechat

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSplitRID(t *testing.T) {
	for _, k := range []struct{ in, msg, rid string }{
		{"invalid credential rid: 5f9a1b2c-3d4e5f60-7a8b9c0d", "invalid credential", "5f9a1b2c-3d4e5f60-7a8b9c0d"},
		{"invalid ip 1.2.3.4, not in whitelist, rid: 5f9a1b2c-3d4e5f60-7a8b9c0d ", "invalid ip 1.2.3.4, not in whitelist", "5f9a1b2c-3d4e5f60-7a8b9c0d"},
		{"hint: [a1b2] rid:5f9a1b2c-3d4e5f60-7a8b9c0d", "hint: [a1b2]", "5f9a1b2c-3d4e5f60-7a8b9c0d"},
		{"rid: 5f9a1b2c-3d4e5f60-7a8b9c0d", "", "5f9a1b2c-3d4e5f60-7a8b9c0d"},
		{"ok", "ok", ""},
		{"", "", ""},
		{"rid: 5f9a1b2c in the middle", "rid: 5f9a1b2c in the middle", ""},
		{"x rid: <script>", "x rid: <script>", ""},
		{"a grid: 12345678", "a grid: 12345678", ""},
	} {
		if msg, rid := splitRID(k.in); msg != k.msg || rid != k.rid {
			t.Errorf("splitRID(%q) = %q, %q; want %q, %q", k.in, msg, rid, k.msg, k.rid)
		}
	}
}

func TestCleanMsg(t *testing.T) {
	for _, k := range []struct{ in, want string }{
		{"invalid ip 121.41.12.34 ipv6 ::ffff:121.41.12.34, not in whitelist", "invalid ip 121.41.12.34 ipv6 ::ffff:121.41.12.34, not in whitelist"},
		{"bad phone 13800138000!", "bad phone ***!"},
		{"code 932003 of 123456", "code 932003 of 123456"},
		{"two\r\nlines\x1b[31m\x00", "two  lines [31m"},
		{"not UTF-8 \xff", "not UTF-8 \uFFFD"},
		{" 参数错误 ", "…"},
		{"receiver 李四, 绍兴市柯桥区, or Li Si of Hengshan Rd", "receiver …, …, or … … of … …"},
	} {
		if got := cleanMsg(k.in); got != k.want {
			t.Errorf("cleanMsg(%q) = %q, want %q", k.in, got, k.want)
		}
	}
	long := cleanMsg(strings.Repeat("参", 1000))
	if len(long) > maxMsg+len("…") || !utf8.ValidString(long) {
		t.Errorf("a long errmsg became %d bytes, valid %v", len(long), utf8.ValidString(long))
	}
}

func TestErrorText(t *testing.T) {
	for _, k := range []struct {
		err  Error
		want string
	}{
		{Error{API: APIPathNotify, Code: 40164, Msg: "invalid ip 1.2.3.4", RID: "a-b-c"}, "call pathnotify: errcode 40164 (this address is not on the account's allow list): invalid ip 1.2.3.4, rid a-b-c"},
		{Error{API: APIUserQuery, Code: 4711, Msg: "odd"}, "call userquery: errcode 4711: odd"},
		{Error{API: APIUserQuery, Code: -1}, "call userquery: errcode -1 (WeChat is busy)"},
		{Error{API: APIPathNotify, Status: 502}, "call pathnotify: http status 502"},
		{Error{API: APIPathNotify, Err: errors.New("no answer within 25s")}, "call pathnotify: no answer within 25s"},
	} {
		if got := k.err.Error(); got != k.want {
			t.Errorf("got  %s\nwant %s", got, k.want)
		}
	}
}

// What an error quotes of an answer that could not be read is another's text.
func TestQuotedAnswersAreMasked(t *testing.T) {
	if got, want := hide()(`malformed HTTP response "李四 13800138000"`), `malformed HTTP response "… ***"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
