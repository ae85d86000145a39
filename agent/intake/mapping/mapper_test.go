package mapping_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
)

// noon is the gateway's clock in these tests.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func canonical(t testing.TB, change ...func(*mapping.Config)) *mapping.Mapper {
	t.Helper()
	cfg := mapping.Config{Depot: "hz-01", DepotName: "杭州"}
	for _, f := range change {
		f(&cfg)
	}
	return testMapper(t, cfg, noon)
}

// testMapper makes a mapping.Mapper whose clock stands still; without sources it has the
// default one.
func testMapper(t testing.TB, cfg mapping.Config, now time.Time) *mapping.Mapper {
	t.Helper()
	return mapping.New(rulesOf(t, cfg), &testClock{now: now, believable: true}, nil)
}

func rulesOf(t testing.TB, cfg mapping.Config) *mapping.Rules {
	t.Helper()
	if len(cfg.Sources) == 0 {
		cfg.Sources = mapping.DefaultSources()
	}
	rules, problems := mapping.Compile(cfg)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return rules
}

// one maps a message that must be one event.
func one(t testing.TB, m *mapping.Mapper, topic, payload string, info mapping.Info) scan.Event {
	t.Helper()
	b := m.Map(topic, []byte(payload), info)
	if len(b.Events) != 1 || len(b.Rejects) != 0 {
		t.Fatalf("%s: %d events, rejects %+v, ignored %d", payload, len(b.Events), b.Rejects, b.Ignored)
	}
	return b.Events[0]
}

// fields builds a canonical scan from a number and further members.
func fields(more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"waybill_id":" yt6900634716900 ","action_type":200001,"action_msg":"到达"` + more + `}`
}

func TestCanonical(t *testing.T) {
	e := one(t, canonical(t), "scans/a", fields(`"action_time":1795435200,"device_id":"d1","event_id":"e1",
		"pickup_courier_name":"张三","pickup_courier_phone":13800138000,
		"delivery_courier_name":"李四","delivery_courier_phone":"13800138001",
		"waybill":{"create_time":1795400000,
			"sender":{"name":"王","phone":"13800138002","province":"浙江省","city":"绍兴市","area":"柯桥区","street":"s","address":"a","id":"x"},
			"receiver":{"name":"赵","phone":"13800138003","province":"福建省","city":"泉州市","area":"晋江市"}}`), mapping.Info{})
	if e.Waybill != "YT6900634716900" || e.ActionType != 200001 || e.ActionTime != 1795435200 || e.Marks != 0 ||
		e.DeviceID != "d1" || e.EventID != "e1" || !e.ReceivedAt.Equal(noon) || e.Clockless != nil || e.Weak != (scan.WeakKey{}) {
		t.Errorf("event %+v", e)
	}
	if e.Pickup.Name.Reveal() != "张三" || e.Pickup.Phone.Reveal() != "13800138000" || e.Delivery.Phone.Reveal() != "13800138001" {
		t.Error("couriers are wrong")
	}
	d := e.Data
	if d == nil || d.CreateTime != 1795400000 || d.Sender.Street.Reveal() != "s" || d.Receiver.Phone.Reveal() != "13800138003" {
		t.Errorf("waybill data %+v", d)
	}
}

func TestClockRule(t *testing.T) {
	m := canonical(t)
	for sent, marked := range map[string]bool{
		`1795435200`: false, `1795435200000`: false, `"1795435200"`: false, `"2026-11-23T20:00:00+08:00"`: false,
		`"2026-11-23 20:00:00"`: false, `1795435800`: false, `1795435801`: true, `1792843200`: false, `1792843199`: true,
		`"yesterday"`: true, `null`: true, `""`: true, `0`: true, `-5`: true, `"0000-00-00 00:00:00"`: true, `1e300`: true,
	} {
		e := one(t, m, "scans/a", fields(`"action_time":`+sent), mapping.Info{})
		if e.Marks.Has(scan.MarkClock) != marked {
			t.Errorf("%s: marked %v", sent, !marked)
		}
		if marked && e.ActionTime != noon.Unix() {
			t.Errorf("%s: %d is not the time of arrival", sent, e.ActionTime)
		}
	}
}

func TestClockless(t *testing.T) {
	clock := &testClock{now: time.Unix(100, 0), boot: "boot-1", since: time.Minute}
	m := mapping.New(rulesOf(t, mapping.Config{}), clock, nil)
	e := one(t, m, "scans/a", fields(`"action_time":1795435200`), mapping.Info{})
	if e.Clockless == nil || *e.Clockless != (scan.BootTime{Boot: "boot-1", Since: time.Minute}) {
		t.Fatalf("clockless %+v", e.Clockless)
	}
	if e.ActionTime != 1795435200 || e.Marks.Has(scan.MarkClock) {
		t.Errorf("the device's time was judged by a clock that can't be believed: %+v", e)
	}
	e = one(t, m, "scans/a", fields(`"action_time":86400`), mapping.Info{})
	if e.ActionTime != 100 || !e.Marks.Has(scan.MarkClock) {
		t.Errorf("1970 was believed: %+v", e)
	}
	b := m.Map("scans/a", []byte("{"), mapping.Info{})
	if len(b.Rejects) != 1 || b.Rejects[0].Clockless == nil || *b.Rejects[0].Clockless != (scan.BootTime{Boot: "boot-1", Since: time.Minute}) {
		t.Errorf("what is rejected keeps no time since the boot: %+v", b.Rejects)
	}
}

func TestIdentity(t *testing.T) {
	m := canonical(t)
	id := func(more string, info mapping.Info) string {
		return one(t, m, "scans/a", fields(more), info).EventID
	}
	later := mapping.Info{ReceivedAt: noon.Add(time.Hour), DUP: true}
	first := id(`"action_time":1795435200,"device_id":"d"`, mapping.Info{})
	if again := id(`"action_time":1795435200,"device_id":"d"`, later); again != first {
		t.Error("the same read delivered again has another id")
	}
	for name, other := range map[string]string{
		"another device": `"action_time":1795435200,"device_id":"e"`,
		"another time":   `"action_time":1795435201,"device_id":"d"`,
	} {
		if id(other, mapping.Info{}) == first {
			t.Errorf("%s has the same id", name)
		}
	}
	// The time as it was sent counts, not what the clock rule made of it.
	if id(`"action_time":1595435200`, mapping.Info{}) != id(`"action_time":1595435200`, later) {
		t.Error("an implausible time was replaced before the id was derived")
	}
	if long := id(`"event_id":"`+strings.Repeat("x", 500)+`"`, mapping.Info{}); len(long) > scan.MaxID ||
		long == id(`"event_id":"`+strings.Repeat("x", 499)+`"`, mapping.Info{}) {
		t.Errorf("a long id became %s", long)
	}
}

func TestWeakIdentity(t *testing.T) {
	m := canonical(t)
	first := one(t, m, "scans/a", fields(""), mapping.Info{Serial: 1})
	again := one(t, m, "scans/a", fields(""), mapping.Info{Serial: 2, DUP: true, ReceivedAt: noon.Add(time.Minute)})
	if first.Weak == (scan.WeakKey{}) || first.Weak != again.Weak {
		t.Error("weak keys of the same payload differ")
	}
	if first.EventID == again.EventID || first.EventID == one(t, m, "scans/a", fields(""), mapping.Info{Serial: 3}).EventID {
		t.Error("two deliveries have the same event id: one scan would be lost")
	}
	if other := one(t, m, "scans/b", fields(""), mapping.Info{}); other.Weak == first.Weak {
		t.Error("another topic has the same weak key")
	}
	if !m.Map("scans/a", []byte(fields("")), mapping.Info{DUP: true}).Redelivered {
		t.Error("DUP got lost")
	}
	b := m.Map("scans/a", []byte(fields("")+"\n"+fields("")), mapping.Info{})
	if len(b.Events) != 2 || b.Events[0].Weak == b.Events[1].Weak || b.Events[0].EventID == b.Events[1].EventID {
		t.Error("two lines of one message are one event")
	}
}

// What one trigger reads twice, be it in two codes or two pictures, is one scan,
// unless the device tells the reads apart.
func TestOneLabelTwice(t *testing.T) {
	two := `^(\*|.*k5=)?(?P<waybill_id>YT[0-9]{13})`
	for _, row := range []struct {
		name, payload string
		src           mapping.Source
		want          string
	}{
		{"two cameras", `{"codes":[{"c":"` + code1 + `","cam":1},{"c":"` + code1 + `","cam":4}]}`, codeAt("/c", func(s *mapping.Source) { s.Split = "/codes" }), code1 + " 1"},
		{"two cameras, mapped with *", `{"codes":[{"c":"` + code1 + `"},{"c":"` + code1 + `"}]}`, codeAt("/codes/*/c"), code1 + " 1"},
		{"an array of reads", `[{"c":"` + code1 + `"},{"c":"` + code1 + `"}]`, codeAt("/c"), code1 + " 1"},
		{"bar code and QR code in a line", code1 + "&k1=a,k5=" + code1, codeAt("", func(s *mapping.Source) {
			s.Decoder, s.Separator, s.Pattern = "text", "&", two
		}), code1 + " 1"},
		{"two lines", code1 + "\r\n" + code1, codeAt("", func(s *mapping.Source) { s.Decoder = "text" }), code1 + " " + code1 + " 0"},
		{"two CSV lines", code1 + ",1\n" + code1 + ",2", codeAt("/c", func(s *mapping.Source) { s.Decoder, s.Columns = "csv", []string{"c"} }), code1 + " " + code1 + " 0"},
		{"objects on lines", `{"c":"` + code1 + `"}` + "\n" + `{"c":"` + code1 + `"}`, codeAt("/c"), code1 + " " + code1 + " 0"},
		{"times of their own", `[{"c":"` + code1 + `","action_time":1795435100},{"c":"` + code1 + `","action_time":1795435200}]`, codeAt("/c"), code1 + " " + code1 + " 0"},
		{"ids of their own", `[{"c":"` + code1 + `","id":1},{"c":"` + code1 + `","id":2}]`, codeAt("/c", func(s *mapping.Source) { s.Fields["event_id"] = "/id" }), code1 + " " + code1 + " 0"},
		{"two actions", `[{"c":"` + code1 + `","k":200001},{"c":"` + code1 + `","k":300002}]`, codeAt("/c", func(s *mapping.Source) { s.Fields["action_type"] = "/k" }), code1 + " " + code1 + " 0"},
	} {
		m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{row.src} })
		if got := outcome(m, "a/b", row.payload); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
	m := canonical(t, func(c *mapping.Config) {
		c.Sources = []mapping.Source{codeAt("/c", func(s *mapping.Source) { s.OnChange = true })}
	})
	if !m.Map("a", []byte(`{"c":"x"}`), mapping.Info{}).OnChange {
		t.Error("on_change got lost")
	}
}

func TestRetained(t *testing.T) {
	m := canonical(t)
	if b := m.Map("scans/a", []byte(fields("")), mapping.Info{Retained: true}); len(b.Events) != 0 || b.Ignored != 1 {
		t.Errorf("a retained message without id and time: %+v", b)
	}
	one(t, m, "scans/a", fields(`"action_time":1795435200`), mapping.Info{Retained: true})
	one(t, m, "scans/a", fields(`"event_id":"e"`), mapping.Info{Retained: true})
}

func TestRejects(t *testing.T) {
	m := canonical(t, func(c *mapping.Config) {
		c.MaxPayload = 2000
		c.Stations = map[string]mapping.Station{"empty": {}}
	})
	for _, c := range []struct{ payload, code, reason string }{
		{`hello`, "not_json", "decoder text"},
		{`{"waybill_id":"YT690063471`, "not_json", "too early"},
		{`{"waybill_id":"YT1","action_type":200001,"action_msg":"x"}`, "not_waybill", "waybill_pattern"},
		{`{"waybill_id":"13800138000","action_type":200001,"action_msg":"x"}`, "phone", "138******00"},
		{`{"waybill_id":{"a":1},"action_type":200001,"action_msg":"x"}`, "bad_waybill", "object"},
		{`{"waybill_id":"YT6900634716900","action_msg":"x"}`, "no_action_type", "/action_type"},
		{`{"waybill_id":"YT6900634716900","action_type":300001,"action_msg":"x"}`, "bad_action_type", "values.action_type"},
		{`{"waybill_id":"YT6900634716900","action_type":"GOT","action_msg":"x"}`, "bad_action_type", `"GOT"`},
		{`{"waybill_id":"YT6900634716900","action_type":200001}`, "no_action_msg", "/action_msg"},
		{`{"waybill_id":"YT6900634716900","station":"gate-9"}`, "unknown_station", `"gate-9"`},
		{`{"waybill_id":"YT6900634716900","station":"empty"}`, "no_action_type", "station empty"},
		{`{"waybill_id":"YT6900634716900","action_type":200001,"action_msg":"` + "\xb5\xbd\xb4\xef" + `"}`, "not_utf8", "GBK"},
		{`{"waybill_id":"YT6900634716900","action_type":200001,"action_msg":"x","pickup_courier_name":"` + strings.Repeat("名", 65) + `"}`, "bad_field", "64 characters"},
		{`{"waybill_id":"` + strings.Repeat("x", 3000) + `"}`, "too_large", "2000"},
	} {
		b := m.Map("scans/a", []byte(c.payload), mapping.Info{})
		if len(b.Rejects) != 1 || len(b.Events) != 0 {
			t.Errorf("%.80s: %+v", c.payload, b)
			continue
		}
		r := b.Rejects[0]
		if r.Code != c.code || !strings.Contains(r.Reason, c.reason) || r.Index != -1 || r.Topic != "scans/a" || !r.ReceivedAt.Equal(noon) {
			t.Errorf("%.80s: %s %q, want %s with %q", c.payload, r.Code, r.Reason, c.code, c.reason)
		}
		if kept := string(r.Payload); kept != c.payload {
			t.Errorf("%.80s: not kept whole: %.80s", c.payload, kept)
		}
	}
}

// A topic that is longer than any is not what things are remembered by.
func TestLongTopics(t *testing.T) {
	m := canonical(t)
	good := []byte(`{"waybill_id":"YT6900634716900","action_type":200001,"action_msg":"x"}`)
	topic := func(n int) string { return "scans/" + strings.Repeat("t", n-len("scans/")) }
	if b := m.Map(topic(1024), good, mapping.Info{}); len(b.Events) != 1 {
		t.Errorf("1024 bytes: %+v", b)
	}
	b := m.Map(topic(60_000), good, mapping.Info{})
	if len(b.Rejects) != 1 || b.Rejects[0].Topic != topic(1024) || b.Rejects[0].Code != "too_large" || string(b.Rejects[0].Payload) != string(good) {
		t.Errorf("60,000 bytes: %+v", b)
	}
	if b := m.Map("x"+topic(60_000), good, mapping.Info{}); b.Ignored != 1 {
		t.Errorf("a topic of no source: %+v", b)
	}
}

// Of a message with several elements a bad one alone is rejected, with its
// index; codes that are no waybill numbers are ignored beside good ones.
func TestSeveral(t *testing.T) {
	m := canonical(t)
	good := `{"waybill_id":"YT6900634716900","action_type":200001,"action_msg":"x"}`
	bad := `{"waybill_id":"YT6900634716901","action_type":1,"action_msg":"x"}`
	strange := `{"waybill_id":"690","action_type":200001,"action_msg":"x"}`
	codes := `{"waybill_id":["YT6900634716902","690","YT6900634716903","NOREAD","YT6900634716903",null],"action_type":200001,"action_msg":"x"}`
	for _, c := range []struct {
		payload                  string
		events, rejects, ignored int
		index                    int
	}{
		{"[" + good + "," + bad + "]", 1, 1, 0, 1},
		{good + "\n" + bad + "\n{\n" + good, 2, 2, 0, 1},
		{"[" + good + "," + strange + "]", 1, 0, 1, 0},
		{"[" + strange + "," + strange + "]", 0, 1, 0, -1},
		{"[" + good + ",{},null,7]", 1, 0, 2, 0},
		{codes, 2, 0, 3, 0},
		{"[[" + good + "],[" + strange + "]]", 1, 0, 1, 0},
		{"{}", 0, 0, 1, 0}, {"null", 0, 0, 1, 0}, {"", 0, 0, 1, 0}, {" \r\n", 0, 0, 1, 0}, {"[[],[]]", 0, 0, 1, 0},
	} {
		b := m.Map("scans/a", []byte(c.payload), mapping.Info{})
		if len(b.Events) != c.events || len(b.Rejects) != c.rejects || b.Ignored != c.ignored {
			t.Errorf("%s: %d events, %d rejects, %d ignored; want %d, %d, %d: %+v", c.payload,
				len(b.Events), len(b.Rejects), b.Ignored, c.events, c.rejects, c.ignored, b.Rejects)
			continue
		}
		if c.rejects > 0 && b.Rejects[len(b.Rejects)-1].Index != c.index {
			t.Errorf("%s: index %d, want %d", c.payload, b.Rejects[0].Index, c.index)
		}
	}
	if b := m.Map("elsewhere", []byte(good), mapping.Info{}); b.Ignored != 1 || len(b.Events)+len(b.Rejects) != 0 {
		t.Errorf("a topic of no source: %+v", b)
	}
	if b := m.Map("scans/a", []byte("["+strings.Repeat(good+",", 4096)+good+"]"), mapping.Info{}); len(b.Rejects) != 1 || b.Rejects[0].Code != "too_many" {
		t.Errorf("too many reads: %d events", len(b.Events))
	}
}

func TestPhoneNumbersIfThePatternWasSet(t *testing.T) {
	payload := `{"waybill_id":"13800138000","action_type":200001,"action_msg":"x"}`
	m := canonical(t, func(c *mapping.Config) { c.WaybillPattern, c.WaybillPatternSet = `^\d{11}$`, true })
	one(t, m, "scans/a", payload, mapping.Info{})
	m = canonical(t, func(c *mapping.Config) { c.WaybillPattern = mapping.DefaultWaybillPattern })
	if b := m.Map("scans/a", []byte(payload), mapping.Info{}); len(b.Rejects) != 1 {
		t.Error("a phone number became a waybill number under the default pattern")
	}
}

func TestMarks(t *testing.T) {
	m := canonical(t)
	e := one(t, m, "scans/a", `{"waybill_id":3160000261634123456789,"action_type":"200001","action_time":1795435200,"action_msg":"`+strings.Repeat("字", 501)+`","waybill":{"create_time":1}}`, mapping.Info{})
	if e.Waybill != "3160000261634123456789" {
		t.Errorf("digits got lost: %s", e.Waybill)
	}
	if e.Marks != scan.MarkCut|scan.MarkWaybillDropped|scan.MarkDerivedID || e.Data != nil {
		t.Errorf("marks %b, data %v", e.Marks, e.Data)
	}
	if n := len([]rune(e.ActionMsg.Reveal())); n != scan.MaxMessage {
		t.Errorf("action_msg has %d characters", n)
	}
}

func TestStations(t *testing.T) {
	m := canonical(t, func(c *mapping.Config) {
		c.Sources = []mapping.Source{{Topic: "z/+/r", Split: "/reads", Fields: map[string]string{
			"waybill_id": "/code", "action_time": "/t", "station": "topic[1]", "device_id": "=fixed", "action_type": "/kind",
		}, Values: map[string]map[string]string{"action_type": {"GOT": "100001", "": "400001"}, "station": {"old": "gate-3"}}}}
		c.Stations = map[string]mapping.Station{"gate-3": {
			Name: "三号门", ActionType: 300002, DeliveryCourierName: "王五", DeliveryCourierPhone: "13800138000",
			ActionMsg: "{{.Depot.ID}} {{.Depot.Name}} {{.Station.ID}} {{.Station.Name}} {{.Event.WaybillID}} {{.Event.ActionType}} {{.Event.ActionTime}} {{.Event.ActionTime.Format \"15:04\"}} {{.Event.DeviceID}}",
		}}
	})
	e := one(t, m, "z/gate-3/r", `{"t":"2026-11-23T12:00:00Z","reads":[{"code":"YT6900634716900"}]}`, mapping.Info{})
	if want := "hz-01 杭州 gate-3 三号门 YT6900634716900 300002 2026-11-23 20:00:00 20:00 fixed"; e.ActionMsg.Reveal() != want {
		t.Errorf("action_msg %q, want %q", e.ActionMsg.Reveal(), want)
	}
	if e.Delivery.Phone.Reveal() != "13800138000" || e.ActionType != 300002 {
		t.Errorf("event %+v", e)
	}
	// The event's own value wins; the element's time wins over the message's.
	e = one(t, m, "z/old/r", `{"t":1,"reads":{"code":"YT6900634716900","kind":"GOT","t":1795435200,"action_msg":"own","delivery_courier_name":"赵六"}}`, mapping.Info{})
	if e.ActionType != 100001 || e.ActionMsg.Reveal() != "own" || e.Delivery.Name.Reveal() != "赵六" || e.ActionTime != 1795435200 {
		t.Errorf("event %+v", e)
	}
	// An unknown station matters only where it should have supplied something.
	one(t, m, "z/nowhere/r", `{"reads":[{"code":"YT6900634716900","kind":200001,"action_msg":"own"}]}`, mapping.Info{})
}

func TestSparkplugDevice(t *testing.T) {
	cfg := loadSnippet(t, "sparkplug.yaml")
	births := sparkplug.NewBirths(nil)
	clock := &testClock{now: time.Date(2020, 9, 15, 7, 0, 0, 0, time.UTC), believable: true}
	m := mapping.New(rulesOf(t, cfg), clock, births)
	birth, data := payloadOf(t, "@sparkplug-dbirth.bin"), payloadOf(t, "@sparkplug-ddata.bin")
	const topic = "spBv1.0/express/DDATA/depot-571/scanner-07"
	b := m.Map(topic, data, mapping.Info{})
	if len(b.Rejects) != 1 || b.Rejects[0].Code != "no_birth" || !strings.Contains(b.Rejects[0].Reason, "rebirth") {
		t.Fatalf("data without a birth: %+v", b)
	}
	if w := births.Ask(time.Now()); len(w) != 1 || w[0] != "express/depot-571" {
		t.Errorf("rebirth wanted of %v", w)
	}
	if b = m.Map("spBv1.0/express/DBIRTH/depot-571/scanner-07", birth, mapping.Info{}); b.Ignored != 1 {
		t.Fatalf("birth: %+v", b)
	}
	e := one(t, m, topic, string(data), mapping.Info{})
	if e.Waybill != "78636098066239" || e.ActionTime != 1600152165 || e.DeviceID != "scanner-07" || e.ActionMsg.Reveal() != arrived {
		t.Errorf("event %+v", e)
	}
	// With the births that were saved data is understood after a restart.
	var kept *sparkplug.Births
	err := births.Save(func(v any) error {
		var saved map[string]sparkplug.Birth
		err := json.Unmarshal(v.(json.RawMessage), &saved)
		kept = sparkplug.NewBirths(saved)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	one(t, mapping.New(rulesOf(t, cfg), clock, kept), topic, string(data), mapping.Info{})
	for _, other := range []string{"spBv1.0/express/NDEATH/depot-571", "spBv1.0/STATE/host", "spBv1.0/express/DCMD/depot-571/x", "spBv1.0/express/DDEATH/depot-571/x"} {
		if b := m.Map(other, []byte("x"), mapping.Info{}); b.Ignored != 1 {
			t.Errorf("%s: %+v", other, b)
		}
	}
	for _, broken := range []string{topic, "spBv1.0/express"} {
		if b := m.Map(broken, []byte("\xff\xff"), mapping.Info{}); len(b.Rejects) != 1 || b.Rejects[0].Code != "not_sparkplug" {
			t.Errorf("%s: %+v", broken, b)
		}
	}
}

func TestIgnoreTakesTheSmallestPart(t *testing.T) {
	m := canonical(t, func(c *mapping.Config) {
		c.Sources = []mapping.Source{{Topic: "#", Split: "/reads", Ignore: []string{"NOREAD", `"test":\s*true`, `"mode":"setup"`},
			Fields: map[string]string{"waybill_id": "/code", "action_type": "=200001", "action_msg": "=x"}}}
	})
	for payload, want := range map[string][2]int{
		`{"reads":[{"code":"YT6900634716900"},{"code":"NOREAD-7"}]}`:                       {1, 1},
		`{"reads":[{"code":["YT6900634716900","NOREAD-7"]}]}`:                              {1, 1},
		`{"reads":[{"code":"YT6900634716900"},{"code":"YT6900634716901","test": true}]}`:   {1, 1},
		`{"mode":"setup","reads":[{"code":"YT6900634716900"},{"code":"YT6900634716901"}]}`: {0, 1},
		`NOREAD`: {0, 1},
	} {
		b := m.Map("t", []byte(payload), mapping.Info{})
		if len(b.Events) != want[0] || b.Ignored != want[1] || len(b.Rejects) != 0 {
			t.Errorf("%s: %d events, %d ignored, rejects %+v", payload, len(b.Events), b.Ignored, b.Rejects)
		}
	}
}

// No-reads are never waybill numbers, also where the pattern would take them
// and nothing is configured to ignore them.
func TestNoReads(t *testing.T) {
	m := canonical(t, func(c *mapping.Config) {
		c.Sources = []mapping.Source{{Topic: "#", Decoder: "text", Fields: map[string]string{"action_type": "=200001", "action_msg": "=x"}}}
	})
	for _, text := range []string{"NOREAD", "NR", "NoRead\r\n", "ERROR", "(C000E000D000) BR", "no read", "NO_READ", "????", "\x02NOREAD\x03"} {
		if b := m.Map("t", []byte(text), mapping.Info{}); b.Ignored != 1 || len(b.Events)+len(b.Rejects) != 0 {
			t.Errorf("%q: %+v", text, b)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	rules, problems := mapping.Compile(mapping.Config{
		WaybillPattern: "(",
		Sources: []mapping.Source{{
			Topic: "a/#/b", QoS: 3, Decoder: "yaml", Split: "x", Pattern: "(?P<foo>x)", Ignore: []string{"ok", "["},
			Fields: map[string]string{"waybill": "nowhere", "wabill_id": "/x"}, Base64: []string{"x"},
			Values: map[string]map[string]string{"y": {}, "action_type": {"GOT": "1"}}, Timezone: "Mars/Olympus",
		}, {Topic: "b", Decoder: "csv"}, {Topic: "c", Decoder: "text", Fields: map[string]string{"device_id": "/x"}}},
		Stations: map[string]mapping.Station{"s": {ActionType: 7, ActionMsg: "{{.Nope}}"}, "t": {ActionMsg: "{{"}},
	})
	err := problems.Err()
	if err == nil || rules != nil {
		t.Fatal("nothing was wrong")
	}
	for _, key := range []string{
		"waybill_pattern: ", "sources[0].topic: ", "sources[0].qos: ", "sources[0].decoder: ", "sources[0].split: ", "sources[0].pattern: ",
		"sources[0].ignore[1]: ", "sources[0].fields.waybill: ", "sources[0].fields.wabill_id: ", "sources[0].base64[0]: ", "sources[0].values.y: ",
		"sources[0].values.action_type.GOT: ", "sources[0].timezone: ", "sources[1].columns: ", "sources[2].fields.device_id: ",
		"stations.s.action_type: ", "stations.s.action_msg: ", "stations.t.action_msg: ",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+key) {
			t.Errorf("nothing about %s", key)
		}
	}
}

func TestUpdate(t *testing.T) {
	m := canonical(t)
	one(t, m, "scans/a", fields(""), mapping.Info{})
	m.Update(rulesOf(t, mapping.Config{Sources: []mapping.Source{{Topic: "other", QoS: 2}}}))
	one(t, m, "other", fields(""), mapping.Info{})
	if subs := m.Subscriptions(); len(subs) != 1 || subs[0] != (mapping.Subscription{"other", 2}) {
		t.Errorf("subscriptions %v", subs)
	}
}

func BenchmarkMapCanonical(b *testing.B) {
	m := canonical(b)
	msg := []byte(`{"waybill_id":"YT6900634716900","action_type":200001,"action_time":1795456463,"action_msg":"快件到达 【杭州转运中心】","device_id":"gate-3"}`)
	b.ReportAllocs()
	for b.Loop() {
		m.Map("scans/gate-3", msg, mapping.Info{})
	}
}
