package scan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ActionType is one of WeChat's twenty codes for what happened to a parcel.
type ActionType int

// The codes that the code itself names; the others are known by number only.
const (
	ActionPickedUp       ActionType = 100001
	ActionTransport      ActionType = 200001
	ActionOutForDelivery ActionType = 300002
	ActionSigned         ActionType = 300003
)

// actionNames holds all known codes with their English and Chinese meaning.
// 300001 stands in WeChat's XML sample but not in its list: it is not known.
var actionNames = map[ActionType][2]string{
	90001:  {"order taken by the outlet", "网点接单"},
	90002:  {"courier assigned", "分配业务员"},
	90003:  {"courier reassigned", "重新分配业务员"},
	90010:  {"payment due", "待支付"},
	90011:  {"paid", "已支付"},
	100001: {"picked up", "揽件成功"},
	100002: {"pick-up failed", "揽件失败"},
	200001: {"path update", "更新运输轨迹"},
	300002: {"out for delivery", "派送中"},
	300003: {"signed for", "签收成功"},
	300004: {"delivery failed", "签收失败"},
	300005: {"stored at a third-party point", "第三方代收入库"},
	300006: {"taken out by a courier", "第三方代收快递员取出"},
	300007: {"signed for by another", "代签收"},
	400001: {"order cancelled", "订单取消"},
	400002: {"held up", "订单滞留"},
	400003: {"returned", "订单退回"},
	400004: {"refused", "订单拒收"},
	400005: {"problem parcel", "问题件"},
	500001: {"other", "其他"},
}

// ActionTypes lists the known codes, sorted.
func ActionTypes() []ActionType { return slices.Sorted(maps.Keys(actionNames)) }

// known reports whether a is one of WeChat's codes.
func (a ActionType) known() bool { _, ok := actionNames[a]; return ok }

// Check says that a is none of WeChat's codes, and which there are; nil if it is.
func (a ActionType) Check() error {
	if a.known() {
		return nil
	}
	var known []string
	for _, k := range ActionTypes() {
		known = append(known, strconv.Itoa(int(k)))
	}
	return fmt.Errorf("%d is none of WeChat's action types; they are %s", int(a), strings.Join(known, ", "))
}

// English returns the meaning in English, or the number of an unknown code.
func (a ActionType) English() string { return a.name(0) }

// Chinese returns the meaning in Chinese, or the number of an unknown code.
func (a ActionType) Chinese() string { return a.name(1) }

func (a ActionType) name(language int) string {
	if n, ok := actionNames[a]; ok {
		return n[language]
	}
	return strconv.Itoa(int(a))
}
