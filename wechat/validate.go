package wechat

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// ErrInvalid marks a request that was not sent because WeChat would refuse it.
var ErrInvalid = errors.New("request is not valid")

// actionTypes are WeChat's twenty codes (wechat/README.md, Action types), sorted. 300001
// stands in WeChat's XML sample but not in its list: never send it.
var actionTypes = []int{
	90001, 90002, 90003, 90010, 90011,
	100001, 100002,
	200001,
	300002, 300003, 300004, 300005, 300006, 300007,
	400001, 400002, 400003, 400004, 400005,
	500001,
}

// KnownAction reports whether code is one of WeChat's action types.
func KnownAction(code int) bool {
	_, ok := slices.BinarySearch(actionTypes, code)
	return ok
}

// Validate reports all that WeChat would refuse in n by its documents, joined;
// nil if nothing. The errors name fields, never their content.
func (n Notification) Validate() error {
	var p problems
	p.text("waybill_id", n.WaybillID, required)
	p.when(n.CreateTime <= 0, "create_time is missing")
	n.Path.check(&p)
	n.Sender.check(&p, "sender", optional)
	n.Receiver.check(&p, "receiver", required)
	return p.err()
}

func (n Node) check(p *problems) {
	p.when(n.ActionTime <= 0, "path.action_time is missing")
	p.when(!KnownAction(n.ActionType), "path.action_type %d is none of WeChat's codes", n.ActionType)
	p.text("path.action_msg", n.ActionMsg, required)
	p.text("path.pickup_courier_name", n.PickupCourierName, optional)
	p.text("path.pickup_courier_phone", n.PickupCourierPhone, optional)
	p.text("path.delivery_courier_name", n.DeliveryCourierName, optional)
	p.text("path.delivery_courier_phone", n.DeliveryCourierPhone, optional)
}

// check looks at a party; person says whether name and phone must be there.
func (y Party) check(p *problems, key string, person presence) {
	p.text(key+".name", y.Name, person)
	p.text(key+".phone", y.Phone, person)
	p.text(key+".province", y.Province, required)
	p.text(key+".city", y.City, required)
	p.text(key+".area", y.Area, required)
	p.text(key+".street", y.Street, optional)
	p.text(key+".address", y.Address, optional)
	p.text(key+".id", y.ID, optional)
}

type presence bool

const (
	required presence = true
	optional presence = false
)

// problems collects what is wrong, so that one run names all of it.
type problems []error

func (p *problems) when(bad bool, format string, args ...any) {
	if bad {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

// text checks one string. JSON is UTF-8: anything else would be changed on the
// way, and the reverse lookup would no longer agree with the push.
func (p *problems) text(key, value string, must presence) {
	p.when(bool(must) && value == "", "%s is missing", key)
	p.when(!utf8.ValidString(value), "%s is not UTF-8", key)
}

func (p *problems) err() error {
	if len(*p) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalid, errors.Join(*p...))
}
