package fake

import (
	"fmt"

	"scanrelay/wechat"
)

// compare holds the carrier's reply against what it asked us to push: 0, or
// 932003 and why. A reply with a ResultCode other than 0 does not come here.
func compare(r Reply, n wechat.Notification) (code int, problem string) {
	if r.CreateTime != n.CreateTime {
		return abnormal, fmt.Sprintf("WaybillCreateTime is %d, pushed was %d", r.CreateTime, n.CreateTime)
	}
	if len(r.Path) == 0 {
		return abnormal, "the path is empty"
	}
	for i, node := range r.Path {
		if !wechat.KnownAction(node.ActionType) {
			return abnormal, fmt.Sprintf("Path[%d]: ActionType %d is unknown", i, node.ActionType)
		}
		if node.ActionTime < firstSecond || node.ActionTime > lastSecond {
			return abnormal, fmt.Sprintf("Path[%d]: ActionTime %d is no time in unix seconds", i, node.ActionTime)
		}
		if i > 0 && node.ActionTime > r.Path[i-1].ActionTime {
			return abnormal, fmt.Sprintf("Path[%d] is newer than the node before it: newest comes first", i)
		}
	}
	return findNode(r.Path, n.Path)
}

// findNode looks for the pushed node; all its fields must agree.
func findNode(path []Node, pushed Node) (code int, problem string) {
	near := ""
	for i, node := range path {
		if node == pushed {
			return 0, ""
		}
		if node.ActionTime == pushed.ActionTime && node.ActionType == pushed.ActionType {
			near = fmt.Sprintf("; Path[%d] has its time and type but another %s", i, difference(node, pushed))
		}
	}
	return abnormal, fmt.Sprintf("the path of %d nodes lacks the pushed one%s", len(path), near)
}

func difference(a, b Node) string {
	switch {
	case a.ActionMsg != b.ActionMsg:
		return "ActionMsg"
	case a.PickupCourierName != b.PickupCourierName || a.PickupCourierPhone != b.PickupCourierPhone:
		return "pick-up courier"
	default:
		return "delivery courier"
	}
}
