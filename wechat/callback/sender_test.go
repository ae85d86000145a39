package callback_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/wechat/callback"
)

// What the tests' WeChat and its callback agree on.
const (
	testToken = "Zt0ken9"
	testKey   = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	testAppID = "wx0123456789abcdef"
	testNonce = "486452656"
)

// Limits that WeChat and strangers meet.
const (
	bodyLimit   = 3 * time.Second // for a body to arrive
	lookupLimit = 2 * time.Second // for a Lookup to answer
	maxBody     = 64 << 10        // bytes
	maxWaybill  = 128             // bytes of a number that is looked up
)

// format is a message's data format.
type format string

const (
	formatJSON format = "json"
	formatXML  format = "xml"
)

var testTime = time.Unix(1714037059, 0)

func nothing(context.Context, callback.Query) callback.Answer {
	return callback.Answer{Code: callback.CodeNoWaybill}
}

func newTestHandler(t testing.TB, m callback.Mode, l callback.Lookup, change ...func(*callback.Config)) *callback.Handler {
	t.Helper()
	c := callback.Config{
		Token: testToken, EncodingAESKey: testKey, AppID: testAppID, Mode: m,
		SwapNames: true, MaxSkew: 10 * time.Minute, Now: func() time.Time { return testTime },
	}
	for _, f := range change {
		f(&c)
	}
	h, err := callback.NewHandler(c, l)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// sender plays WeChat: it sends messages in one mode and format and reads the
// replies with decoders that are not ours.
type sender struct {
	mode  callback.Mode
	form  format
	token secret.Text
	at    time.Time
	crypt *callback.Crypt
}

func newSender(t testing.TB, m callback.Mode, f format) sender {
	t.Helper()
	c, err := callback.NewCrypt(testToken, testKey, testAppID)
	if err != nil {
		t.Fatal(err)
	}
	return sender{mode: m, form: f, token: testToken, at: testTime, crypt: c}
}

func (s sender) String() string { return fmt.Sprintf("%s %s", s.mode, s.form) }

// everyWay is all six combinations.
func everyWay(t *testing.T, f func(t *testing.T, s sender)) {
	t.Helper()
	for _, m := range []callback.Mode{callback.Plain, callback.Compat, callback.Secure} {
		for _, form := range []format{formatJSON, formatXML} {
			t.Run(string(m)+" "+string(form), func(t *testing.T) { f(t, newSender(t, m, form)) })
		}
	}
}

// pairs is a message: names and values in turn.
type pairs []string

func lookupOf(event, waybill string) pairs {
	return pairs{
		"ToUserName", "gh_97417a04a28d", "FromUserName", "o9AgO5Kd5ggOC", "CreateTime", "1714037059",
		"MsgType", "event", "Event", event, "WaybillId", waybill, "SenderPhone", "13800138001", "ReceiverPhone", "13800138000",
	}
}

// write writes the message in the sender's format.
func (s sender) write(p pairs) string {
	var b strings.Builder
	for i := 0; i < len(p); i += 2 {
		if s.form == formatXML {
			fmt.Fprintf(&b, "<%s><![CDATA[%s]]></%[1]s>", p[i], p[i+1])
			continue
		}
		value, _ := json.Marshal(p[i+1])
		if p[i] == "CreateTime" {
			value = []byte(p[i+1])
		}
		fmt.Fprintf(&b, ",%q:%s", p[i], value)
	}
	if s.form == formatXML {
		return "<xml>" + b.String() + "</xml>"
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

// query is the URL's parameters; encrypted is "" in plain mode.
func (s sender) query(encrypted string) url.Values {
	stamp := fmt.Sprint(s.at.Unix())
	v := url.Values{
		"signature": {callback.Sign(s.token.Reveal(), stamp, testNonce)}, "timestamp": {stamp}, "nonce": {testNonce}, "openid": {"o9AgO5Kd5ggOC"},
	}
	if encrypted != "" {
		v.Set("encrypt_type", "aes")
		v.Set("msg_signature", callback.Sign(s.token.Reveal(), stamp, testNonce, encrypted))
	}
	return v
}

// request is a whole POST of the message as the sender's mode has it.
func (s sender) request(p pairs) *http.Request {
	if s.mode == callback.Plain {
		return post(s.query(""), s.write(p))
	}
	encrypted := s.crypt.Encrypt([16]byte([]byte("0123456789abcdef")), []byte(s.write(p)))
	outer := pairs{"ToUserName", "gh_97417a04a28d", "Encrypt", encrypted}
	if s.mode == callback.Compat {
		outer = append(p[:len(p):len(p)], "Encrypt", encrypted)
	}
	return post(s.query(encrypted), s.write(outer))
}

func post(query url.Values, body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/wechat/callback?"+query.Encode(), strings.NewReader(body))
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// strictReply reads both formats; unknown JSON fields are refused by read.
type strictReply struct {
	XMLName                  xml.Name `xml:"xml" json:"-"`
	ToUserName, FromUserName string
	CreateTime               int64
	MsgType, Event           string
	ResultCode               int
	ResultMsg                string
	WaybillCreateTime        int64
	Path                     []strictNode
}

type strictNode struct {
	ActionTime                                int64
	ActionType                                int
	ActionMsg                                 string
	PickupCourierName, PickupCourierPhone     string
	DeliveryCourierName, DeliveryCourierPhone string
}

// read checks and decrypts a reply as WeChat would.
func (s sender) read(t *testing.T, w *httptest.ResponseRecorder) strictReply {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("%v: status %d", s, w.Code)
	}
	body := w.Body.String()
	if s.mode != callback.Plain {
		body = s.openEnvelope(t, body)
	}
	var r strictReply
	s.unmarshal(t, body, &r)
	return r
}

func (s sender) openEnvelope(t *testing.T, body string) string {
	t.Helper()
	var e struct {
		XMLName               xml.Name `xml:"xml" json:"-"`
		Encrypt, MsgSignature string
		TimeStamp             int64
		Nonce                 string
	}
	s.unmarshal(t, body, &e)
	if e.Nonce != testNonce {
		t.Errorf("%v: nonce %s does not echo the URL's", s, e.Nonce)
	}
	if want := callback.Sign(s.token.Reveal(), fmt.Sprint(e.TimeStamp), e.Nonce, e.Encrypt); e.MsgSignature != want {
		t.Errorf("%v: msg_signature %s, want %s", s, e.MsgSignature, want)
	}
	clear, err := s.crypt.Decrypt(e.Encrypt)
	if err != nil {
		t.Fatalf("%v: %v", s, err)
	}
	return string(clear)
}

func (s sender) unmarshal(t *testing.T, body string, to any) {
	t.Helper()
	var err error
	if s.form == formatXML {
		err = xml.Unmarshal([]byte(body), to)
	} else {
		d := json.NewDecoder(strings.NewReader(body))
		d.DisallowUnknownFields()
		err = d.Decode(to)
	}
	if err != nil {
		t.Fatalf("%v: read %q: %v", s, body, err)
	}
}
