package fake

import (
	"regexp"
	"strings"

	"scanrelay/wechat"
)

// Node is one path node, as pathnotify sends it and the reverse lookup lists it;
// Party the sender or receiver. The types are the client's, what fills them reads
// the wire with its own eyes.
type (
	Node  = wechat.Node
	Party = wechat.Party
)

// Unix seconds that can be meant: 2001 to 2128. Milliseconds lie far above.
const (
	firstSecond = 1_000_000_000
	lastSecond  = 5_000_000_000
)

var (
	phoneForm   = regexp.MustCompile(`^\+?[0-9][0-9 -]*$`)
	maskedPhone = regexp.MustCompile(`1[3-9][0-9]\*+`)
)

// readNotification reads a pathnotify body; problem is "" if nothing is wrong.
func readNotification(body []byte) (n wechat.Notification, problem string, isObject bool) {
	o, ok := readObject(body)
	if !ok {
		return n, "the body is no JSON object", false
	}
	n.WaybillID = o.must("waybill_id")
	n.CreateTime = o.second("create_time")
	n.Sender = o.object("sender").party(false)
	n.Receiver = o.object("receiver").party(true)
	p := o.object("path")
	n.Path = Node{
		ActionTime: p.second("action_time"), ActionType: p.action("action_type"), ActionMsg: p.must("action_msg"),
		PickupCourierName: p.text("pickup_courier_name"), PickupCourierPhone: p.text("pickup_courier_phone"),
		DeliveryCourierName: p.text("delivery_courier_name"), DeliveryCourierPhone: p.text("delivery_courier_phone"),
	}
	if maskedPhone.MatchString(n.Path.ActionMsg) {
		p.complain("action_msg", "holds a masked phone: it is written as its 11 digits")
	}
	return n, o.wrong(), true
}

// party reads sender or receiver; person: name and phone are required.
func (o object) party(person bool) Party {
	if person {
		o.must("name")
		o.must("phone")
	}
	return Party{
		Name: o.text("name"), Phone: o.phone("phone"),
		Province: o.must("province"), City: o.must("city"), Area: o.must("area"),
		Street: o.text("street"), Address: o.text("address"), ID: o.text("id"),
	}
}

// phone returns a phone number; "" if it is missing.
func (o object) phone(key string) string {
	v := o.text(key)
	if v != "" && !phoneForm.MatchString(v) {
		o.complain(key, "is no phone number")
	}
	return v
}

// second returns a time in unix seconds.
func (o object) second(key string) int64 {
	v := o.number(key)
	if v < firstSecond || v > lastSecond {
		o.complain(key, "is no time in unix seconds")
	}
	return v
}

// action returns a known action type.
func (o object) action(key string) int {
	v := int(o.number(key))
	if !wechat.KnownAction(v) {
		o.complain(key, "is no known action type")
	}
	return v
}

func (s *Server) userQuery(body []byte, call *Call, exist *bool) answer {
	o, ok := readObject(body)
	if !ok {
		return refuse(47001, "the body is no JSON object")
	}
	o.must("phone")
	call.Phone = o.phone("phone")
	if o.wrong() != "" {
		return refuse(40097, "%s", o.wrong())
	}
	return existAnswer(call, s.existOf(call.Phone, exist))
}

// pathNotify reads the request, asks the carrier back and only then pushes.
func (s *Server) pathNotify(body []byte, call *Call, exist *bool) answer {
	n, problem, isObject := readNotification(body)
	if !isObject {
		return refuse(47001, "%s", problem)
	}
	call.WaybillID, call.Phone = n.WaybillID, n.Receiver.Phone
	if problem != "" {
		return refuse(40097, "%s", problem)
	}
	bound := s.existOf(n.Receiver.Phone, exist)
	if !bound && s.o.SkipUnbound {
		return existAnswer(call, false)
	}
	if l := s.lookUp(n, call.Seq); l.Errcode != 0 {
		return refuse(l.Errcode, "%s", strings.TrimSpace("reverse lookup: "+l.Problem))
	}
	if bound {
		s.push(n, call)
	}
	return existAnswer(call, bound)
}

func (s *Server) existOf(phone string, scripted *bool) bool {
	if scripted != nil {
		return *scripted
	}
	return s.isBound(phone)
}

func existAnswer(call *Call, bound bool) answer {
	call.Exist = bound
	n := 0
	if bound {
		n = 1
	}
	return answer{fields: map[string]any{"exist": n}}
}
