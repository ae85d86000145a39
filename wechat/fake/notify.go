package fake

import (
	"regexp"
	"strings"

	"scanrelay/wechat"
)

// Node is one path node, as pathnotify sends it and the reverse lookup lists
// it. This package has its own types for what crosses the wire: it reads with
// its own eyes.
type Node struct {
	ActionTime    int64 // unix seconds
	ActionType    int
	ActionMsg     string
	PickupName    string
	PickupPhone   string
	DeliveryName  string
	DeliveryPhone string
}

// Party is the sender or receiver (wechat/README.md, pathnotify).
type Party struct {
	Name, Phone, Province, City, Area, Street, Address, ID string
}

// notification is one pathnotify request.
type notification struct {
	waybill          string
	sender, receiver Party
	node             Node
	createTime       int64
}

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
func readNotification(body []byte) (n notification, problem string, isObject bool) {
	o, ok := readObject(body)
	if !ok {
		return n, "the body is no JSON object", false
	}
	n.waybill = o.must("waybill_id")
	n.createTime = o.second("create_time")
	n.sender = o.object("sender").party(false)
	n.receiver = o.object("receiver").party(true)
	p := o.object("path")
	n.node = Node{
		ActionTime: p.second("action_time"), ActionType: p.action("action_type"), ActionMsg: p.must("action_msg"),
		PickupName: p.text("pickup_courier_name"), PickupPhone: p.text("pickup_courier_phone"),
		DeliveryName: p.text("delivery_courier_name"), DeliveryPhone: p.text("delivery_courier_phone"),
	}
	if maskedPhone.MatchString(n.node.ActionMsg) {
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
	p := Party{
		Name: o.text("name"), Phone: o.phone("phone"),
		Province: o.must("province"), City: o.must("city"), Area: o.must("area"),
		Street: o.text("street"), Address: o.text("address"), ID: o.text("id"),
	}
	return p
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
	call.WaybillID, call.Phone = n.waybill, n.receiver.Phone
	if problem != "" {
		return refuse(40097, "%s", problem)
	}
	bound := s.existOf(n.receiver.Phone, exist)
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
