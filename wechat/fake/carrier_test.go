package fake_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/wechat/callback"
	"scanrelay/wechat/fake"
)

// carrier is the other side in tests: a small callback endpoint that is right
// unless a test makes it lie.
type carrier struct {
	*httptest.Server
	crypt *callback.Crypt

	mu     sync.Mutex
	asked  []map[string]string
	reply  map[string]any                                // JSON keys
	mutate func(reply map[string]any)                    // before it is encoded
	seal   func(env map[string]any)                      // after it is encrypted
	serve  func(http.ResponseWriter, *http.Request) bool // true: it answered by itself
	hits   int
}

const (
	testWaybill = "YT6900634716900"
	testPhone   = "13800138000"
	testTime    = int64(1_790_000_000)
)

// newPair makes a fake WeChat behind HTTP and a carrier that knows one waybill.
func newPair(t *testing.T, o fake.Options) (*fake.Server, *httptest.Server, *carrier) {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return time.Unix(testTime+100, 0) }
	}
	s, err := fake.New(o)
	if err != nil {
		t.Fatal(err)
	}
	c := &carrier{reply: goodReply()}
	if c.crypt, err = callback.NewCrypt(secret.Text(fake.DefaultToken), secret.Text(fake.DefaultAESKey), fake.DefaultAppID); err != nil {
		t.Fatal(err)
	}
	c.Server = httptest.NewServer(c)
	s.SetCallback(c.URL + "/wechat/callback")
	front := httptest.NewServer(s)
	t.Cleanup(func() { s.Close(); front.Close(); c.Close() })
	return s, front, c
}

func goodReply() map[string]any {
	return map[string]any{
		"CreateTime": testTime + 100, "MsgType": "event", "Event": "waybill_notify_query",
		"ResultCode": 0, "ResultMsg": "OK", "WaybillCreateTime": testTime - 5000,
		"Path": []any{
			map[string]any{"ActionTime": testTime, "ActionType": 300002, "ActionMsg": "派件中,派件人:王五,电话13900139000", "DeliveryCourierName": "王五", "DeliveryCourierPhone": "13900139000"},
			map[string]any{"ActionTime": testTime - 4000, "ActionType": 100001, "ActionMsg": "【网点】已收件"},
		},
	}
}

func goodPush() map[string]any {
	return map[string]any{
		"waybill_id": testWaybill, "create_time": testTime - 5000,
		"sender":   map[string]any{"name": "张三", "phone": "13800138001", "province": "浙江省", "city": "绍兴市", "area": "柯桥区"},
		"receiver": map[string]any{"name": "李四", "phone": testPhone, "province": "福建省", "city": "泉州市", "area": "晋江市"},
		"path": map[string]any{"action_time": testTime, "action_type": 300002, "action_msg": "派件中,派件人:王五,电话13900139000",
			"pickup_courier_name": "", "pickup_courier_phone": "", "delivery_courier_name": "王五", "delivery_courier_phone": "13900139000"},
	}
}

func (c *carrier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hits++
	if c.serve != nil && c.serve(w, r) {
		return
	}
	q := r.URL.Query()
	if r.Method == http.MethodGet {
		if callback.Sign(fake.DefaultToken, q.Get("timestamp"), q.Get("nonce")) != q.Get("signature") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, q.Get("echostr"))
		return
	}
	body, _ := io.ReadAll(r.Body)
	c.answer(w, r, body)
}

func (c *carrier) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	q := r.URL.Query()
	f := fake.JSON
	if strings.HasPrefix(string(body), "<") {
		f = fake.XML
	}
	outer := readAll(f, body)
	encrypted := outer["Encrypt"]
	if encrypted != "" {
		if q.Get("msg_signature") != callback.Sign(fake.DefaultToken, q.Get("timestamp"), q.Get("nonce"), encrypted) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		clear, err := c.crypt.Decrypt(encrypted)
		if err != nil {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		outer = readAll(f, clear)
	}
	c.asked = append(c.asked, outer)
	if outer["Event"] != "waybill_notify_query" {
		io.WriteString(w, "success")
		return
	}
	reply := map[string]any{"ToUserName": outer["FromUserName"], "FromUserName": outer["ToUserName"]}
	for k, v := range c.reply {
		reply[k] = v
	}
	if c.mutate != nil {
		c.mutate(reply)
	}
	out := encode(f, reply)
	if encrypted != "" {
		var random [16]byte
		rand.Read(random[:])
		e := c.crypt.Encrypt(random, out)
		ts := fmt.Sprint(testTime + 100)
		env := map[string]any{"Encrypt": e, "TimeStamp": testTime + 100, "Nonce": q.Get("nonce"),
			"MsgSignature": callback.Sign(fake.DefaultToken, ts, q.Get("nonce"), e)}
		if c.seal != nil {
			c.seal(env)
		}
		out = encode(f, env)
	}
	w.Write(out)
}

// readAll reads a flat message into a map of texts.
func readAll(f fake.Format, body []byte) map[string]string {
	out := map[string]string{}
	if f == fake.XML {
		var m struct {
			Fields []struct {
				XMLName xml.Name
				Text    string `xml:",chardata"`
			} `xml:",any"`
		}
		if err := xml.Unmarshal(body, &m); err != nil {
			panic(err)
		}
		for _, field := range m.Fields {
			out[field.XMLName.Local] = field.Text
		}
		return out
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		panic(err)
	}
	for k, v := range m {
		out[k] = fmt.Sprint(v)
	}
	return out
}

func encode(f fake.Format, m map[string]any) []byte {
	if f == fake.JSON {
		b, err := json.Marshal(m)
		if err != nil {
			panic(err)
		}
		return b
	}
	var b strings.Builder
	b.WriteString("<xml>")
	xmlFields(&b, m)
	b.WriteString("</xml>")
	return []byte(b.String())
}

func xmlFields(b *strings.Builder, m map[string]any) {
	for k, v := range m {
		nodes, isList := v.([]any)
		if !isList {
			nodes = []any{v}
		}
		for _, n := range nodes {
			fmt.Fprintf(b, "<%s>", k)
			if in, ok := n.(map[string]any); ok {
				xmlFields(b, in)
			} else if text, ok := n.(string); ok {
				xml.EscapeText(b, []byte(text))
			} else {
				fmt.Fprint(b, n)
			}
			fmt.Fprintf(b, "</%s>", k)
		}
	}
}

// answerOf is what the fake answered.
type answerOf struct {
	Errcode     int            `json:"errcode"`
	Errmsg      string         `json:"errmsg"`
	Exist       *int           `json:"exist"`
	AccessToken string         `json:"access_token"`
	ExpiresIn   int64          `json:"expires_in"`
	Quota       map[string]int `json:"quota"`
	status      int
	header      http.Header
}

func call(t *testing.T, url, contentType string, body any) (answerOf, error) {
	t.Helper()
	raw, isText := body.(string)
	if !isText {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		raw = string(b)
	}
	resp, err := http.Post(url, contentType, strings.NewReader(raw))
	if err != nil {
		return answerOf{}, err
	}
	defer resp.Body.Close()
	a := answerOf{status: resp.StatusCode, header: resp.Header}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	if resp.StatusCode == 200 {
		if err := json.Unmarshal(b, &a); err != nil {
			return a, fmt.Errorf("answer %q: %w", b, err)
		}
	}
	return a, nil
}

func (c *carrier) lie(f func(map[string]any)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mutate = f
}

// getToken fetches a token in normal mode.
func getToken(t *testing.T, front *httptest.Server, force bool) answerOf {
	t.Helper()
	a, err := call(t, front.URL+"/cgi-bin/stable_token", "application/json", map[string]any{
		"grant_type": "client_credential", "appid": fake.DefaultAppID, "secret": fake.DefaultSecret, "force_refresh": force})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// notify pushes with a fresh token.
func notify(t *testing.T, front *httptest.Server, body any) (answerOf, error) {
	t.Helper()
	url := front.URL + "/cgi-bin/express/delivery/pathnotify?access_token=" + getToken(t, front, false).AccessToken
	return call(t, url, "application/json", body)
}
