package wechat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// sample is WeChat's own, from its documentation of pathnotify.
const sample = `{"path":{"action_time":1597396101,"action_type":200001,"action_msg":"快件到达 【泉州磁灶集散中心】",
  "pickup_courier_name":"","pickup_courier_phone":"","delivery_courier_name":"","delivery_courier_phone":""},
 "receiver":{"area":"晋江市","address":"庄宅北区158-6","province":"福建省","city":"泉州市","phone":"13800138000","name":"李四"},
 "sender":{"area":"柯桥区","address":"纺都路137号","province":"浙江省","city":"绍兴市","phone":"13800138001","name":"张三"},
 "waybill_id":"1234567890"}`

// SampleNotification is WeChat's sample, with the create_time that it lacks.
func SampleNotification(t testing.TB) Notification {
	t.Helper()
	var n Notification
	d := json.NewDecoder(strings.NewReader(sample))
	d.DisallowUnknownFields()
	if err := d.Decode(&n); err != nil {
		t.Fatal(err)
	}
	n.CreateTime = 1597300000
	return n
}

// WeChat's sample goes in and comes out byte for byte, with nothing added but
// create_time, which its own table asks for.
func TestSampleRoundTrip(t *testing.T) {
	var want bytes.Buffer
	if err := json.Compact(&want, []byte(sample)); err != nil {
		t.Fatal(err)
	}
	got, err := EncodeJSON(SampleNotification(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSuffix(want.String(), "}") + `,"create_time":1597300000}`; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if err := SampleNotification(t).Validate(); err != nil {
		t.Errorf("Validate = %v", err)
	}
}

// Optional fields of a party are left out when empty; all others are sent.
func TestFieldsOnTheWire(t *testing.T) {
	n := SampleNotification(t)
	n.CreateTime = 0
	n.Sender = Party{Province: "浙江省", City: "绍兴市", Area: "柯桥区", Street: "a", ID: "b"}
	n.Receiver.Address = "<&>"
	got, err := EncodeJSON(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"sender":{"area":"柯桥区","province":"浙江省","city":"绍兴市","phone":"","name":"","street":"a","id":"b"}`,
		`"create_time":0`, `"address":"<&>"`,
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, k := range []struct {
		name   string
		change func(*Notification)
		want   string // "": valid
	}{
		{"sample", func(n *Notification) {}, ""},
		{"sender without name and phone", func(n *Notification) { n.Sender.Name, n.Sender.Phone = "", "" }, ""},
		{"no street, address, id", func(n *Notification) { n.Sender.Address, n.Receiver.Address = "", "" }, ""},
		{"no waybill_id", func(n *Notification) { n.WaybillID = "" }, "waybill_id is missing"},
		{"no create_time", func(n *Notification) { n.CreateTime = 0 }, "create_time is missing"},
		{"no action_time", func(n *Notification) { n.Path.ActionTime = 0 }, "path.action_time is missing"},
		{"no action_type", func(n *Notification) { n.Path.ActionType = 0 }, "path.action_type 0 is none"},
		{"300001", func(n *Notification) { n.Path.ActionType = 300001 }, "path.action_type 300001 is none"},
		{"no action_msg", func(n *Notification) { n.Path.ActionMsg = "" }, "path.action_msg is missing"},
		{"action_msg not UTF-8", func(n *Notification) { n.Path.ActionMsg = "\xff" }, "path.action_msg is not UTF-8"},
		{"courier not UTF-8", func(n *Notification) { n.Path.DeliveryCourierName = "\xff" }, "path.delivery_courier_name is not UTF-8"},
		{"no receiver", func(n *Notification) { n.Receiver = Party{} }, "receiver.name is missing"},
		{"no receiver phone", func(n *Notification) { n.Receiver.Phone = "" }, "receiver.phone is missing"},
		{"no receiver area", func(n *Notification) { n.Receiver.Area = "" }, "receiver.area is missing"},
		{"no sender province", func(n *Notification) { n.Sender.Province = "" }, "sender.province is missing"},
		{"no sender city", func(n *Notification) { n.Sender.City = "" }, "sender.city is missing"},
	} {
		n := SampleNotification(t)
		k.change(&n)
		err := n.Validate()
		switch {
		case k.want == "" && err != nil:
			t.Errorf("%s: %v", k.name, err)
		case k.want != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), k.want)):
			t.Errorf("%s: %v, want %q", k.name, err, k.want)
		}
	}
	err := Notification{}.Validate()
	if n := strings.Count(err.Error(), "\n") + 1; n != 13 {
		t.Errorf("an empty notification has %d problems, want 13:\n%v", n, err)
	}
}

func TestKnownAction(t *testing.T) {
	if len(actionTypes) != 20 {
		t.Errorf("%d action types, WeChat has 20", len(actionTypes))
	}
	for _, code := range actionTypes {
		if !KnownAction(code) {
			t.Errorf("%d is not known: the list is not sorted", code)
		}
	}
	for _, code := range []int{-1, 0, 1, 90004, 300001, 500002} {
		if KnownAction(code) {
			t.Errorf("%d is known", code)
		}
	}
}

// Nobody's data is printed, under any verb and by any logger.
func TestNotificationPrintsMasked(t *testing.T) {
	n := SampleNotification(t)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	logger.Info("x", "n", n, "p", &n, "party", n.Sender, "node", n.Path, "all", []any{n, n.Receiver})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{n, &n, n.Sender, n.Path, []Notification{n}, struct{ N Notification }{n}} {
			fmt.Fprintf(&log, verb+"\n", v)
		}
	}
	for _, private := range []string{"13800138000", "李四", "张三", "泉州", "庄宅", "1234567890", fmt.Sprintf("%x", "13800138000"), fmt.Sprintf("%x", "李四")} {
		if strings.Contains(log.String(), private) {
			t.Errorf("printed %q:\n%s", private, &log)
		}
	}
	if !strings.Contains(log.String(), "action 200001 at 1597396101") {
		t.Errorf("the action is not shown:\n%s", &log)
	}
}
