package mapping

import (
	"scanrelay/agent/intake/decode"
	"scanrelay/agent/scan"
)

// data reads the waybill data that came with the scan. What pathnotify would
// refuse is left out and marked; the event stays.
func (b *builder) data() {
	v, ok := b.find(fieldData, b.rd.el, b.rd.keys)
	if !ok || v.node == nil {
		return
	}
	if v.node.Kind != decode.Object {
		if !b.src.rules[fieldData].implied || len(b.src.cfg.Fields) == 0 {
			b.dropData("it is no object")
		}
		return
	}
	w := scan.Waybill{
		CreateTime: b.createTime(v.node),
		Sender:     party(v.node, "sender"),
		Receiver:   party(v.node, "receiver"),
	}
	if err := w.Validate(); err != nil {
		b.dropData(err.Error())
		return
	}
	b.ev.Data = &w
	b.trace.field(fieldData, v.from, "", "complete")
}

func (b *builder) dropData(why string) {
	b.ev.Marks |= scan.MarkWaybillDropped
	b.trace.field(fieldData, "left out: "+why, "", "")
}

func (b *builder) createTime(n *decode.Node) int64 {
	at, ok := decode.Time(member(n, "create_time"), b.src.layouts, b.src.zone)
	if !ok {
		return 0
	}
	return at.Unix()
}

// party reads a sender or receiver with pathnotify's field names.
func party(n *decode.Node, name string) scan.Party {
	p, ok := n.Member(name)
	if !ok {
		return scan.Party{}
	}
	private := func(key string) scan.Private { return scan.Private(member(p, key)) }
	return scan.Party{
		Name: private("name"), Phone: scan.Phone(member(p, "phone")),
		Province: private("province"), City: private("city"), Area: private("area"),
		Street: private("street"), Address: private("address"), ID: private("id"),
	}
}

// member returns a member's text; "" if there is none.
func member(n *decode.Node, key string) string {
	m, ok := n.Member(key)
	if !ok {
		return ""
	}
	text, _ := m.Text()
	return valid(decode.StripText(text))
}
