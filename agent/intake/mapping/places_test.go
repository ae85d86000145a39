package mapping_test

import (
	"fmt"
	"strings"
	"testing"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
)

// described maps a message and puts each event as number@time#device into a line.
func described(m *mapping.Mapper, payload string) string {
	b := m.Map("csv/gate-3", []byte(payload), mapping.Info{})
	var got []string
	for _, e := range b.Events {
		one := string(e.Waybill)
		if !e.Marks.Has(scan.MarkClock) {
			one += fmt.Sprintf("@%d", e.ActionTime)
		}
		if e.DeviceID != "" {
			one += "#" + e.DeviceID
		}
		got = append(got, one)
	}
	got = append(got, fmt.Sprint(b.Ignored))
	for _, r := range b.Rejects {
		got = append(got, r.Code)
	}
	return strings.Join(got, " ")
}

// The key of an object is a place for a field, as gateways use it for the device or
// for the number itself.
func TestKeys(t *testing.T) {
	device := func(place, split, key string) mapping.Source {
		s := codeAt(place, func(s *mapping.Source) { s.Split = split })
		s.Fields["device_id"] = key
		return s
	}
	for _, row := range []struct {
		name, payload string
		src           mapping.Source
		want          string
	}{
		{"the device, ThingsBoard", `{"Scanner A":[{"values":{"code":"` + code1 + `"}}],"Scanner B":[{"values":{"code":"` + code2 + `"}}]}`,
			device("/values/code", "/*", "key[0]"), code1 + "#Scanner A " + code2 + "#Scanner B 0"},
		{"by * of the number's place", `{"gates":{"g1":{"c":"` + code1 + `"},"g2":{"c":"` + code2 + `"}}}`,
			device("/gates/*/c", "", "key[0]"), code1 + "#g1 " + code2 + "#g2 0"},
		{"the second *", `{"a":{"x":[{"c":"` + code1 + `"}]},"b":{"y":[{"c":"` + code2 + `"}]}}`,
			device("/c", "/*/*", "key[1]"), code1 + "#x " + code2 + "#y 0"},
		{"split's and the number's", `{"a":{"r":{"x":{"c":"` + code1 + `"}}}}`, device("/r/*/c", "/*", "key[1]"), code1 + "#x 0"},
		{"an index", `{"lanes":[{"c":"` + code1 + `"},{"c":"` + code2 + `"}]}`, device("/lanes/*/c", "", "key[0]"), code1 + "#0 " + code2 + "#1 0"},
		{"the number", `{"` + code1 + `":{"d":"x"},"` + code2 + `":null}`, device("key[0]", "/*", "/d"), code1 + "#x " + code2 + " 0"},
		{"the number, with a scalar", `{"` + code1 + `":17,"NOREAD":1}`, device("key[0]", "/*", ""), code1 + "#17 1"},
		{"joined", `{"a":{"c":"` + code1 + `"}}`, device("/c", "/*", "topic[1] + key[0]"), code1 + "#gate-3 a 0"},
	} {
		m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{row.src} })
		if got := described(m, row.payload); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

// Date and time that stand in two places are one time.
func TestJoinedPlaces(t *testing.T) {
	timed := func(place string, change ...func(*mapping.Source)) mapping.Source {
		s := codeAt("/code", change...)
		s.Fields["action_time"] = place
		return s
	}
	csv := func(s *mapping.Source) { s.Decoder, s.Columns = "csv", []string{"date", "time", "code"} }
	for _, row := range []struct {
		name, payload string
		src           mapping.Source
		want          string
	}{
		{"two columns", "2026-11-23,20:00:00," + code1, timed("/date + /time", csv), code1 + "@1795435200 0"},
		{"two members", `{"code":"` + code1 + `","d":"2026-11-23","t":"20:00:00"}`, timed("/d + /t"), code1 + "@1795435200 0"},
		{"numbers", `{"code":"` + code1 + `","d":20261123,"t":200000}`, timed("/d + /t"), code1 + "@1795435200 0"},
		{"a layout", "23/11/26,2000," + code1, timed("/date + /time", csv, func(s *mapping.Source) { s.TimeFormats = []string{"02/01/06 1504"} }), code1 + "@1795435200 0"},
		{"the date around the read", `{"d":"2026-11-23","r":[{"code":"` + code1 + `","t":"下午8:00"}]}`, timed("/d + /t", func(s *mapping.Source) { s.Split = "/r" }), code1 + "@1795435200 0"},
		{"a zone of its own", `{"code":"` + code1 + `","d":"2026-11-23","t":"12:00:00","z":"+0000"}`, timed("/d + /t + /z"), code1 + "@1795435200 0"},
		{"the time is missing", `{"code":"` + code1 + `","d":"2026-11-23"}`, timed("/d + /t"), code1 + " 0"},
		{"numbers from the year on", `{"code":"` + code1 + `","at":[2026,11,23,20,0]}`, timed("/at"), code1 + "@1795435200 0"},
		{"a name with +", `{"code":"` + code1 + `","a + b":"2026-11-23 20:00"}`, timed("/a + b"), ""},
	} {
		if row.want == "" {
			if _, problems := mapping.Compile(mapping.Config{Sources: []mapping.Source{row.src}}); problems.Err() == nil {
				t.Errorf("%s: no problem", row.name)
			}
			continue
		}
		m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{row.src} })
		if got := described(m, row.payload); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

func TestBadPlaces(t *testing.T) {
	for want, src := range map[string]mapping.Source{
		"fields.device_id: key[0] is what a * in split or fields.waybill_id stands for": {Topic: "#", Fields: map[string]string{"device_id": "key[0]"}},
		"fields.device_id: key[1] is":                       {Topic: "#", Split: "/*", Fields: map[string]string{"device_id": "key[1]"}},
		"fields.waybill_id: key[0] is":                      {Topic: "#", Split: "/a", Fields: map[string]string{"waybill_id": "key[0]"}},
		`"key" is no place; write key[1]`:                   {Topic: "#", Fields: map[string]string{"device_id": "key"}},
		"fields.waybill_id: is one value in one place":      {Topic: "#", Fields: map[string]string{"waybill_id": "/a + /b"}},
		"fields.action_time: columns has no /time":          {Topic: "#", Decoder: "csv", Columns: []string{"date", "waybill_id"}, Fields: map[string]string{"action_time": "/date + /time"}},
		"fields.action_time: a text has nothing at /date: ": {Topic: "#", Decoder: "text", Fields: map[string]string{"action_time": "/date + /time"}},
	} {
		_, problems := mapping.Compile(mapping.Config{Sources: []mapping.Source{src}})
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Whoever maps a device is told what was sent as the time, and only where there was
// nothing that there was none.
func TestWhyTheTimeOfArrival(t *testing.T) {
	src := codeAt("/code")
	src.Fields["action_time"] = "/at"
	m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{src} })
	for sent, want := range map[string]string{
		`"2026-11-23"`: "what was sent is no time in a known form; give its layout under time_formats|2026-11-23",
		`[1,2,3]`:      "what was sent is no time in a known form; give its layout under time_formats|an array or an object",
		`{"a":1}`:      "what was sent is no time in a known form; give its layout under time_formats|an array or an object",
		`46349.64`:     "if what was sent are a spreadsheet's days, add excel to time_formats|46349.64",
		`1495435200`:   "the one sent cannot be, see the clock rule|1495435200",
		`null`:         "none was sent at /at|",
	} {
		reads := m.Explain("a", []byte(`{"code":"`+code1+`","at":`+sent+`}`), mapping.Info{}, false).Reads
		got := ""
		for _, f := range reads[0].Fields {
			if f.Field == "action_time" {
				got = f.From + "|" + f.Sent
			}
		}
		if got != "time of arrival: "+want {
			t.Errorf("%s: %s, want %s", sent, got, want)
		}
	}
	text := canonical(t, func(c *mapping.Config) {
		c.Sources = []mapping.Source{{Topic: "#", Decoder: "text", Fields: map[string]string{"action_type": "=200001", "action_msg": "=x"}}}
	})
	if said := fmt.Sprint(text.Explain("a", []byte(code1), mapping.Info{}, false).Reads); !strings.Contains(said, "none was sent }") {
		t.Errorf("with no place for a time: %s", said)
	}
}
