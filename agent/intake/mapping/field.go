package mapping

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"scanrelay/agent/intake/decode"
)

// field is one of the canonical fields of a scan event, or the station.
type field int

const (
	fieldWaybill field = iota
	fieldActionType
	fieldActionTime
	fieldActionMsg
	fieldDevice
	fieldEventID
	fieldPickupName
	fieldPickupPhone
	fieldDeliveryName
	fieldDeliveryPhone
	fieldData
	fieldStation
	numFields
)

var fieldNames = [numFields]string{
	"waybill_id", "action_type", "action_time", "action_msg", "device_id", "event_id",
	"pickup_courier_name", "pickup_courier_phone", "delivery_courier_name", "delivery_courier_phone",
	"waybill", "station",
}

// FieldInfo tells people of a field that a source maps.
type FieldInfo struct{ Name, English, Chinese string }

// Fields lists the fields that a source maps.
func Fields() []FieldInfo {
	meanings := [numFields][2]string{
		{"the waybill number; needed", "运单号;必填"},
		{"one of WeChat's codes; needed, here or from the station", "微信的动作代码;必填,可由 station 提供"},
		{"when it was scanned; without one the time of arrival", "扫描时间;没有就用到达时间"},
		{"what the receiver reads; needed, here or from the station", "收件人看到的文字;必填,可由 station 提供"},
		{"which device it was", "设备编号"},
		{"the device's own id of this scan: makes redeliveries harmless", "设备给这次扫描的编号;重发也只算一次"},
		{"who picked up", "揽件员姓名"},
		{"his phone", "揽件员电话"},
		{"who delivers", "派件员姓名"},
		{"his phone", "派件员电话"},
		{"an object: create_time, sender, receiver with pathnotify's names", "一个对象:create_time、sender、receiver,名字同 pathnotify"},
		{"the name under stations that supplies what is missing", "stations 里的名字,补上报文缺少的内容"},
	}
	infos := make([]FieldInfo, numFields)
	for f, m := range meanings {
		infos[f] = FieldInfo{fieldNames[f], m[0], m[1]}
	}
	return infos
}

func (f field) String() string { return fieldNames[f] }

func fieldByName(name string) (field, bool) {
	for i, n := range fieldNames {
		if n == name {
			return field(i), true
		}
	}
	return 0, false
}

// ruleKind is where a field's value comes from.
type ruleKind uint8

const (
	ruleNone    ruleKind = iota
	rulePointer          // in the payload
	ruleTopic            // a level of the topic
	ruleLiteral          // in the configuration
	ruleKey              // what a * on the way to the read stood for
	ruleJoin             // several places
)

// rule tells where one field comes from.
type rule struct {
	kind    ruleKind
	pointer decode.Pointer
	level   int // of the topic; which *
	literal string
	parts   []rule // of ruleJoin
	implied bool   // not configured: looked for under its canonical name
}

// String names the place for people.
func (r rule) String() string {
	switch r.kind {
	case rulePointer:
		return r.pointer.String()
	case ruleTopic:
		return fmt.Sprintf("topic[%d]", r.level)
	case ruleLiteral:
		return "=" + r.literal
	case ruleKey:
		return fmt.Sprintf("key[%d]", r.level)
	case ruleJoin:
		names := make([]string, len(r.parts))
		for i, part := range r.parts {
			names[i] = part.String()
		}
		return strings.Join(names, and)
	default:
		return "nowhere"
	}
}

// and stands between several places of one field.
const and = " + "

var levelRule = regexp.MustCompile(`^(topic|key)\[([0-9]{1,3})\]$`)

func parseRule(text string) (rule, error) {
	if literal, ok := strings.CutPrefix(text, "="); ok {
		return rule{kind: ruleLiteral, literal: literal}, nil
	}
	if parts := strings.Split(text, and); len(parts) > 1 {
		return parseJoin(parts)
	}
	if m := levelRule.FindStringSubmatch(text); m != nil {
		level, err := strconv.Atoi(m[2])
		if m[1] == "key" {
			return rule{kind: ruleKey, level: level}, err
		}
		return rule{kind: ruleTopic, level: level}, err
	}
	for _, word := range []string{"topic", "key"} {
		if strings.HasPrefix(text, word) {
			return rule{}, fmt.Errorf("%q is no place; write %s[1], the first is %s[0]", text, word, word)
		}
	}
	p, err := decode.ParsePointer(text)
	if err != nil && text[0] != '/' {
		err = fmt.Errorf("%w (or write topic[N], key[N] or =text)", err)
	}
	return rule{kind: rulePointer, pointer: p}, err
}

func parseJoin(parts []string) (rule, error) {
	r := rule{kind: ruleJoin}
	for _, text := range parts {
		part, err := parseRule(strings.TrimSpace(text))
		if err != nil {
			return r, err
		}
		r.parts = append(r.parts, part)
	}
	return r, nil
}

// places are the rule's parts, or the rule itself.
func (r rule) places() []rule {
	if r.kind == ruleJoin {
		return r.parts
	}
	return []rule{r}
}

// imply gives the fields that are not configured their canonical names. With
// fields configured event_id is left out: what other devices call so is often no
// id at all, and a wrong one makes two scans one.
func (s *source) imply(configured bool) {
	for f := range numFields {
		if s.rules[f].kind != ruleNone || s.decoder == "text" && f != fieldWaybill || configured && f == fieldEventID {
			continue
		}
		s.rules[f] = rule{kind: rulePointer, pointer: decode.Pointer{f.String()}, implied: true}
		if s.decoder == "text" {
			s.rules[f].pointer = decode.Pointer{}
		}
	}
}
