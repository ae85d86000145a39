package callback

import (
	"context"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"scanrelay/wechat"
)

func plainHandler(t testing.TB, c Config) *Handler {
	t.Helper()
	c.Token, c.Mode = "t", Plain
	c.Now = func() time.Time { return time.Unix(1714037060, 0) }
	h, err := NewHandler(c, func(context.Context, Query) Answer { return Answer{} })
	if err != nil {
		t.Fatal(err)
	}
	return h
}

var asked = message{"ToUserName": "gh_1", "FromUserName": "o1", "MsgType": "event", "Event": "WAYBILL_notify_query", "WaybillId": "YT1"}

// TwoNodes is an answer that has all there can be.
var TwoNodes = Answer{CreateTime: 1714000000, Path: []wechat.Node{
	{ActionTime: 1714000100, ActionType: 100001, ActionMsg: "已收件 <&>", PickupCourierName: "王五", PickupCourierPhone: "13800138002"},
	{ActionTime: 1714000200, ActionType: 300002, ActionMsg: "派件中]]>", DeliveryCourierName: "赵六", DeliveryCourierPhone: "13800138003"},
}}

func TestReplyJSON(t *testing.T) {
	h := plainHandler(t, Config{SwapNames: true})
	for _, k := range []struct {
		name   string
		answer Answer
		want   string
	}{
		{"found", TwoNodes, `{"ToUserName":"o1","FromUserName":"gh_1","CreateTime":1714037060,"MsgType":"event","Event":"WAYBILL_notify_query","ResultCode":0,"ResultMsg":"OK","WaybillCreateTime":1714000000,"Path":[` +
			`{"ActionTime":1714000200,"ActionType":300002,"ActionMsg":"派件中]]>","DeliveryCourierName":"赵六","DeliveryCourierPhone":"13800138003"},` +
			`{"ActionTime":1714000100,"ActionType":100001,"ActionMsg":"已收件 <&>","PickupCourierName":"王五","PickupCourierPhone":"13800138002"}]}`},
		{"no nodes", Answer{CreateTime: 5}, `{"ToUserName":"o1","FromUserName":"gh_1","CreateTime":1714037060,"MsgType":"event","Event":"WAYBILL_notify_query","ResultCode":0,"ResultMsg":"OK","WaybillCreateTime":5,"Path":[]}`},
		{"wrong phone, and a lookup that tells too much", Answer{Code: CodeWrongPhone, CreateTime: 5, Path: TwoNodes.Path}, `{"ToUserName":"o1","FromUserName":"gh_1","CreateTime":1714037060,"MsgType":"event","Event":"WAYBILL_notify_query","ResultCode":2,"ResultMsg":"phone does not belong to this waybill","WaybillCreateTime":0,"Path":[]}`},
	} {
		got, err := h.encode(h.newReply(asked, k.answer), formatJSON, "", nil)
		if err != nil || string(got) != k.want {
			t.Errorf("%s: %v\n got %s\nwant %s", k.name, err, got, k.want)
		}
	}
}

func TestReplyXML(t *testing.T) {
	h := plainHandler(t, Config{})
	const head = `<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[o1]]></FromUserName><CreateTime>1714037060</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[WAYBILL_notify_query]]></Event>`
	for _, k := range []struct {
		name   string
		answer Answer
		want   string
	}{
		{"found", TwoNodes, head + `<ResultCode>0</ResultCode><ResultMsg><![CDATA[OK]]></ResultMsg><WaybillCreateTime>1714000000</WaybillCreateTime>` +
			`<Path><ActionTime>1714000200</ActionTime><ActionType>300002</ActionType><ActionMsg><![CDATA[派件中]]]]><![CDATA[>]]></ActionMsg><DeliveryCourierName><![CDATA[赵六]]></DeliveryCourierName><DeliveryCourierPhone><![CDATA[13800138003]]></DeliveryCourierPhone></Path>` +
			`<Path><ActionTime>1714000100</ActionTime><ActionType>100001</ActionType><ActionMsg><![CDATA[已收件 <&>]]></ActionMsg><PickupCourierName><![CDATA[王五]]></PickupCourierName><PickupCourierPhone><![CDATA[13800138002]]></PickupCourierPhone></Path></xml>`},
		{"try again", Answer{Code: CodeTryAgain, CreateTime: 9}, head + `<ResultCode>3</ResultCode><ResultMsg><![CDATA[try again later]]></ResultMsg><WaybillCreateTime>0</WaybillCreateTime></xml>`},
	} {
		got, err := h.encode(h.newReply(asked, k.answer), formatXML, "", nil)
		if err != nil || string(got) != k.want {
			t.Errorf("%s: %v\n got %s\nwant %s", k.name, err, got, k.want)
		}
	}
}

// What XML cannot hold is replaced, and the result is XML.
func TestCDATA(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"快件到达 【中心】":             "快件到达 【中心】",
		"a]]>b]]>c":             "a]]>b]]>c",
		"]]]]>>":                "]]]]>>",
		"bell\x07 nul\x00":      "bell\uFFFD nul\uFFFD",
		"tab\t line\n":          "tab\t line\n",
		"return\r":              "return\uFFFD",
		"not a character\uFFFE": "not a character\uFFFD",
		"not UTF-8 \xff":        "not UTF-8 \uFFFD",
		"<script>&amp;":         "<script>&amp;",
	} {
		var x xmlWriter
		x.fields("a", in)
		var got string
		if err := xml.Unmarshal(x.Bytes(), &got); err != nil || got != want {
			t.Errorf("%q came back as %q, %v", in, got, err)
		}
	}
}

func TestNewestFirst(t *testing.T) {
	given := []wechat.Node{
		{ActionTime: 5, ActionMsg: "c"}, {ActionTime: 9, ActionMsg: "e"}, {ActionTime: 1, ActionMsg: "a"},
		{ActionTime: 5, ActionMsg: "d"}, {ActionTime: 2, ActionMsg: "b"},
	}
	var order strings.Builder
	for _, n := range NewestFirst(given) {
		order.WriteString(n.ActionMsg)
	}
	if order.String() != "edcba" {
		t.Errorf("order %s, want edcba: of the same time the one given later is newer", order.String())
	}
	if given[0].ActionMsg != "c" || given[4].ActionMsg != "b" {
		t.Error("the caller's slice was changed")
	}
}

// The envelope of WeChat's published reply, byte for byte in both formats.
func TestOfficialEnvelope(t *testing.T) {
	v := Official.SecureReply
	e := wrap(officialCrypt(t), random16(t, v.Random), []byte(v.Message), v.Timestamp, v.Nonce)
	for f, want := range map[format]string{
		formatJSON: `{"Encrypt":"` + v.Encrypt + `","MsgSignature":"` + v.MsgSignature + `","TimeStamp":1713424427,"Nonce":"415670741"}`,
		formatXML:  `<xml><Encrypt><![CDATA[` + v.Encrypt + `]]></Encrypt><MsgSignature><![CDATA[` + v.MsgSignature + `]]></MsgSignature><TimeStamp>1713424427</TimeStamp><Nonce><![CDATA[415670741]]></Nonce></xml>`,
	} {
		if got, err := e.encode(f); err != nil || string(got) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", f, err, got, want)
		}
	}
}

// Without random bytes nothing is encrypted: a constant would show which
// answers are alike.
func TestNoRandomNoReply(t *testing.T) {
	h := plainHandler(t, Config{Rand: strings.NewReader("too short")})
	h.c.Mode = Secure
	_, err := h.encode(reply{}, formatJSON, "1", officialCrypt(t))
	if err == nil || !strings.Contains(err.Error(), io.ErrUnexpectedEOF.Error()) {
		t.Errorf("encode = %v, want an error", err)
	}
}
