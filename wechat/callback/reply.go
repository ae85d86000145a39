package callback

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"scanrelay/wechat"
)

// reply is the answer to a reverse lookup in WeChat's names and order.
type reply struct {
	ToUserName        string
	FromUserName      string
	CreateTime        int64 // unix seconds
	MsgType           string
	Event             string
	ResultCode        int
	ResultMsg         string
	WaybillCreateTime int64 // unix seconds
	Path              []replyNode
}

type replyNode struct {
	ActionTime           int64 // unix seconds
	ActionType           int
	ActionMsg            string
	PickupCourierName    string `json:",omitempty"`
	PickupCourierPhone   string `json:",omitempty"`
	DeliveryCourierName  string `json:",omitempty"`
	DeliveryCourierPhone string `json:",omitempty"`
}

// envelope is an encrypted reply.
type envelope struct {
	Encrypt      string
	MsgSignature string
	TimeStamp    int64 // ours, unix seconds
	Nonce        string
}

// newReply puts an answer under the names of its question. Anything but an OK
// carries neither a time nor a path: it must tell nothing about the waybill.
func (h *Handler) newReply(m message, a Answer) reply {
	r := reply{
		ToUserName: m["ToUserName"], FromUserName: m["FromUserName"],
		CreateTime: h.c.Now().Unix(),
		MsgType:    m["MsgType"], Event: m["Event"],
		ResultCode: a.Code, ResultMsg: cmp.Or(a.Msg, resultMsgs[a.Code], "error "+strconv.Itoa(a.Code)),
		Path: []replyNode{}, // never null
	}
	if h.c.SwapNames {
		r.ToUserName, r.FromUserName = r.FromUserName, r.ToUserName
	}
	if a.Code == CodeOK {
		r.WaybillCreateTime = a.CreateTime
		for _, n := range NewestFirst(a.Path) {
			r.Path = append(r.Path, replyNode(n))
		}
	}
	return r
}

// NewestFirst returns a path sorted by time, the newest first. Of nodes with the
// same time the one given later counts as newer.
func NewestFirst(path []wechat.Node) []wechat.Node {
	sorted := slices.Clone(path)
	slices.Reverse(sorted)
	slices.SortStableFunc(sorted, func(a, b wechat.Node) int { return cmp.Compare(b.ActionTime, a.ActionTime) })
	return sorted
}

// encode writes a reply in form f, encrypted where the mode asks for it.
func (h *Handler) encode(r reply, f format, nonce string, crypt *Crypt) ([]byte, error) {
	body, err := r.encode(f)
	if err != nil || !h.c.Mode.encrypted() {
		return body, err
	}
	var random [randomSize]byte
	if _, err := io.ReadFull(h.c.Rand, random[:]); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	return wrap(crypt, random, body, h.c.Now().Unix(), nonce).encode(f)
}

// wrap encrypts and signs a reply.
func wrap(c *Crypt, random [randomSize]byte, body []byte, unix int64, nonce string) envelope {
	encrypt := c.Encrypt(random, body)
	return envelope{
		Encrypt:      encrypt,
		MsgSignature: c.Sign(strconv.FormatInt(unix, 10), nonce, encrypt),
		TimeStamp:    unix,
		Nonce:        nonce,
	}
}

func (r reply) encode(f format) ([]byte, error) {
	if f == formatJSON {
		return wechat.EncodeJSON(r)
	}
	var x xmlWriter
	x.WriteString("<xml>")
	x.fields("ToUserName", r.ToUserName, "FromUserName", r.FromUserName, "CreateTime", r.CreateTime, "MsgType", r.MsgType, "Event", r.Event,
		"ResultCode", r.ResultCode, "ResultMsg", r.ResultMsg, "WaybillCreateTime", r.WaybillCreateTime)
	for _, n := range r.Path { // Path is repeated per node, with nothing around
		x.WriteString("<Path>")
		x.fields("ActionTime", n.ActionTime, "ActionType", n.ActionType, "ActionMsg", n.ActionMsg)
		x.known("PickupCourierName", n.PickupCourierName)
		x.known("PickupCourierPhone", n.PickupCourierPhone)
		x.known("DeliveryCourierName", n.DeliveryCourierName)
		x.known("DeliveryCourierPhone", n.DeliveryCourierPhone)
		x.WriteString("</Path>")
	}
	x.WriteString("</xml>")
	return x.Bytes(), nil
}

func (e envelope) encode(f format) ([]byte, error) {
	if f == formatJSON {
		return wechat.EncodeJSON(e)
	}
	var x xmlWriter
	x.WriteString("<xml>")
	x.fields("Encrypt", e.Encrypt, "MsgSignature", e.MsgSignature, "TimeStamp", e.TimeStamp, "Nonce", e.Nonce)
	x.WriteString("</xml>")
	return x.Bytes(), nil
}

// xmlWriter writes XML as WeChat's samples have it: texts in CDATA, no spaces.
type xmlWriter struct{ bytes.Buffer }

// fields writes names and values in turn, which are strings, int or int64.
func (x *xmlWriter) fields(pairs ...any) {
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i].(string)
		x.WriteString("<" + name + ">")
		if text, ok := pairs[i+1].(string); ok {
			x.WriteString("<![CDATA[" + cdata(text) + "]]>")
		} else {
			fmt.Fprint(x, pairs[i+1])
		}
		x.WriteString("</" + name + ">")
	}
}

// known writes a text unless it is empty.
func (x *xmlWriter) known(name, value string) {
	if value != "" {
		x.fields(name, value)
	}
}

// cdata makes a text fit for a CDATA section: what would end it is split, and
// characters that XML cannot hold become U+FFFD.
func cdata(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r >= 0x20 && r != 0xFFFE && r != 0xFFFF {
			return r
		}
		return '\uFFFD'
	}, s)
	return strings.ReplaceAll(s, "]]>", "]]]]><![CDATA[>")
}
