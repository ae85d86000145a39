package scan

import (
	"strings"
	"testing"
	"time"
)

func goodEvent() Event {
	return Event{
		EventID: "e1", Waybill: "YT6900634716900", ActionType: ActionTransport,
		ActionTime: 1_700_000_000, ActionMsg: "快件到达 【杭州转运中心】",
	}
}

func goodWaybill() Waybill {
	return Waybill{
		CreateTime: 1_700_000_000,
		Sender:     Party{Province: "浙江省", City: "绍兴市", Area: "柯桥区"},
		Receiver:   Party{Name: "李四", Phone: "13800138000", Province: "福建省", City: "泉州市", Area: "晋江市"},
	}
}

func TestEventValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Event)
		want   string // "" means valid
	}{
		"good":             {func(e *Event) {}, ""},
		"no waybill":       {func(e *Event) { e.Waybill = "" }, "waybill_id is missing"},
		"no id":            {func(e *Event) { e.EventID = "" }, "event_id is missing"},
		"long id":          {func(e *Event) { e.EventID = strings.Repeat("x", MaxID+1) }, "event_id is longer"},
		"long device":      {func(e *Event) { e.DeviceID = strings.Repeat("x", MaxID+1) }, "device_id is longer"},
		"no action":        {func(e *Event) { e.ActionType = 0 }, "action_type is missing"},
		"unlisted action":  {func(e *Event) { e.ActionType = 300001 }, "300001 is none of WeChat's codes"},
		"no message":       {func(e *Event) { e.ActionMsg = "" }, "action_msg is missing"},
		"500 characters":   {func(e *Event) { e.ActionMsg = Text(strings.Repeat("件", MaxMessage)) }, ""},
		"501 characters":   {func(e *Event) { e.ActionMsg = Text(strings.Repeat("件", MaxMessage+1)) }, "action_msg is longer"},
		"broken UTF-8":     {func(e *Event) { e.ActionMsg = "\xff" }, "not UTF-8"},
		"long courier":     {func(e *Event) { e.Pickup.Name = Private(strings.Repeat("张", MaxName+1)) }, "pickup_courier_name is longer"},
		"long phone":       {func(e *Event) { e.Delivery.Phone = Phone(strings.Repeat("1", MaxPhone+1)) }, "delivery_courier_phone is longer"},
		"several problems": {func(e *Event) { *e = Event{} }, "event_id is missing\naction_type is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			e := goodEvent()
			tc.change(&e)
			wantProblem(t, e.Validate(), tc.want)
		})
	}
}

func TestWaybillValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Waybill)
		want   string
	}{
		"sender without a person": {func(w *Waybill) {}, ""},
		"no create_time":          {func(w *Waybill) { w.CreateTime = 0 }, "create_time is missing"},
		"no receiver phone":       {func(w *Waybill) { w.Receiver.Phone = "" }, "receiver.phone is missing"},
		"no receiver name":        {func(w *Waybill) { w.Receiver.Name = "" }, "receiver.name is missing"},
		"no sender city":          {func(w *Waybill) { w.Sender.City = "" }, "sender.city is missing"},
		"long address":            {func(w *Waybill) { w.Receiver.Address = Private(strings.Repeat("路", MaxAddress+1)) }, "receiver.address is longer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := goodWaybill()
			tc.change(&w)
			wantProblem(t, w.Validate(), tc.want)
		})
	}
}

func wantProblem(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want a problem with %q", err, want)
	}
}

func TestAllTwentyActionTypesAreKnown(t *testing.T) {
	if len(actionNames) != 20 {
		t.Errorf("%d action types, WeChat has 20", len(actionNames))
	}
	if ActionType(300001).known() {
		t.Error("300001 must never be sent")
	}
	if got := ActionType(7).English(); got != "7" {
		t.Errorf("an unknown type prints %q", got)
	}
}

func TestPlausibleTime(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		offset time.Duration
		want   bool
	}{{0, true}, {MaxAhead, true}, {MaxAhead + time.Second, false}, {-MaxBehind, true}, {-MaxBehind - time.Second, false}} {
		if got := PlausibleTime(now.Add(tc.offset).Unix(), now); got != tc.want {
			t.Errorf("a time %v off is plausible: %v", tc.offset, got)
		}
	}
}

func TestNormalizeWaybill(t *testing.T) {
	if got := NormalizeWaybill(" yt6900634716900\r\n"); got != "YT6900634716900" {
		t.Errorf("got %q", got)
	}
}

func TestDepotIDValid(t *testing.T) {
	for id, want := range map[DepotID]bool{"hz-01": true, "": false, "-a": false, "HZ": false, "a/b": false, DepotID(strings.Repeat("a", 63)): true, DepotID(strings.Repeat("a", 64)): false} {
		if id.Valid() != want {
			t.Errorf("%q valid: %v", id, !want)
		}
	}
}

func TestCutMessageCountsCharacters(t *testing.T) {
	whole := strings.Repeat("件", MaxMessage)
	if got, cut := CutMessage(whole); cut || got.Reveal() != whole {
		t.Error("a message of the allowed length was cut")
	}
	if got, cut := CutMessage(whole + "件"); !cut || got.Reveal() != whole {
		t.Error("a long message was not cut to the allowed length")
	}
}

func TestDerivedIdentities(t *testing.T) {
	a := DeriveEventID("YT1", ActionSigned, "2026-11-23T08:00:00Z", "d1")
	if a != DeriveEventID("YT1", ActionSigned, "2026-11-23T08:00:00Z", "d1") {
		t.Error("the same read gets two ids")
	}
	for _, b := range []string{
		DeriveEventID("YT2", ActionSigned, "2026-11-23T08:00:00Z", "d1"),
		DeriveEventID("YT1", ActionTransport, "2026-11-23T08:00:00Z", "d1"),
		DeriveEventID("YT1", ActionSigned, "2026-11-23T08:00:01Z", "d1"),
		DeriveEventID("YT1", ActionSigned, "2026-11-23T08:00:00Z", "d2"),
		DeriveEventID("YT1", ActionSigned, "2026-11-23T08:00:00Zd", "1"),
	} {
		if a == b {
			t.Error("two reads get one id")
		}
	}
	if DeriveWeakKey("t", []byte("p"), 0) == DeriveWeakKey("t", []byte("p"), 1) || DeriveWeakKey("tp", nil, 0) == DeriveWeakKey("t", []byte("p"), 0) {
		t.Error("two elements get one weak key")
	}
}
