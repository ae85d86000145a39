package waybills_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/central/waybills"
	"scanrelay/uplink/syncapi"
)

// Of the bounds of an import.
const maxRejected = 10_000

func TestImport(t *testing.T) {
	now := time.Now().Unix()
	good := func(id string) string { return centraltest.Line(id, now) }
	phone := func(p string) string { return strings.Replace(good("W1"), centraltest.Receiver, p, 1) }
	without := func(field string) string { return strings.Replace(good("W1"), `"`+field+`"`, `"x`+field+`"`, 1) }
	for _, c := range []struct {
		name, body string
		stored     int
		rejected   string // line:id:part of the error, one a line
	}{
		{"nothing", "", 0, ""},
		{"blank lines only", "\n \n", 0, ""},
		{"lines", good("W1") + "\n" + good("W2") + "\n", 2, ""},
		{"no last newline, blank lines, CR LF, a mark", "\ufeff" + good("W1") + "\r\n\r\n  \n" + good("W2"), 2, ""},
		{"an array", "[" + good("W1") + ",\n" + good("W2") + "]", 2, ""},
		{"an array after blank lines", " \n\n [" + good("W1") + "]", 1, ""},
		{"an empty array", "[]", 0, ""},
		{"good lines around a bad one", good("W1") + "\nnonsense\n" + good("W3"), 2, "2::not a JSON object"},
		{"line numbers count blank lines", "\n\nnonsense", 0, "3::not a JSON object"},
		{"no number", `{"create_time":1}`, 0, "1::waybill_id is missing"},
		{"create_time is text", `{"waybill_id":" w9 ","create_time":"x"}`, 0, "1:W9:create_time"},
		{"create_time in milliseconds", centraltest.Line("W1", now*1000), 0, "1:W1:create_time lies in the future"},
		{"create_time is missing", without("create_time"), 0, "1:W1:create_time is missing"},
		{"create_time of 1970", centraltest.Line("W1", 1), 0, "1:W1:create_time lies before 2001: it is in unix seconds"},
		{"create_time in minutes", centraltest.Line("W1", now/60), 0, "1:W1:create_time lies before 2001"},
		{"half a character in a name", strings.Replace(good("W1"), `"name":"`, `"name":"\ud83d`, 1), 0, "1:W1:sender.name has a character that is none"},
		{"what a conversion left of a character", strings.Replace(good("W1"), `"city":"`, `"city":"\ufffd`, 1), 0, "1:W1:sender.city has a character that is none"},
		{"a zero in a name", strings.Replace(good("W1"), `"name":"`, `"name":"\u0000`, 1), 0, "1:W1:sender.name has a control character"},
		{"a control character in what need not be there", strings.Replace(good("W1"), `"name":"`, `"street":"a\u001b[2J","name":"`, 1), 0, "1:W1:sender.street has a control character"},
		{"lines in an address", strings.Replace(good("W1"), `"name":"`, `"address":"1\r\n\t2","name":"`, 1), 1, ""},
		{"half a character in a number", good(`W\udc00`), 0, "1:W\ufffd:waybill_id has a"},
		{"half a character in a parcel's", strings.Replace(good("W1"), `{`, `{"children":["W2\ud800"],`, 1), 0, "1:W1:children: waybill_id has a"},
		{"no receiver", without("receiver"), 0, "1:W1:receiver.name is missing; receiver.phone is missing"},
		{"number with a space", good("W 1"), 0, "1:W 1:space"},
		{"number too long", good(strings.Repeat("W", 65)), 0, "1:" + strings.Repeat("W", 64) + ":longer"},
		{"a line in GBK", good("W1") + "\n" + strings.Replace(good("W2"), `"name":"`, `"name":"`+"\xc0\xee", 1) + "\n" + good("W3"), 2, "2::the line is "},
		{"an element in GBK", "[" + good("W1") + "," + strings.Replace(good("W2"), `"name":"`, `"name":"`+"\xc0\xee", 1) + "]", 1, "2::UTF-8"},
		{"UTF-16", "\xff\xfe{\x00}\x00", 0, "1::the line is UTF-16"},
		{"a line too long", good("W1") + "\n" + strings.Repeat("x", 128<<10) + "\n" + good("W2"), 2, "2::longer than"},
		{"an element that is no object", "[" + good("W1") + `,5,` + good("W2") + "]", 2, "2::not a JSON object"},
		{"an element too long", "[" + good("W1") + `,{"waybill_id":"W2","x":"` + strings.Repeat("],", 128<<10) + `"},` + good("W3") + "]", 2, "2::longer than"},
		{"all of an array within one", "[[" + strings.Repeat(good("W1")+",", 2000) + good("W1") + "]]", 0, "1::longer than"},
		{"brackets and quotes in a text", "[" + strings.Replace(good("W1"), `"name":"`, `"name":"]},\\\"{[`, 1) + "," + good("W2") + "]", 2, ""},
		{"a comma too many", "[" + good("W1") + ",]", 1, "2::not a JSON object"},
		{"a masked phone", phone("138****8000"), 0, "1:W1:receiver.phone is masked"},
		{"a phone of two digits", phone("12"), 0, "1:W1:receiver.phone has fewer than 7 digits"},
		{"a name for a phone", phone("lisi1234567"), 0, "1:W1:receiver.phone has a character"},
		{"a masked sender", strings.Replace(good("W1"), centraltest.Sender, "139****9001", 1), 0, "1:W1:sender.phone is masked"},
		{"phones as people write them", phone("+86 (0571) 8765-4321转12") + "\n" + phone("9501312345678-0012"), 2, ""},
		{"a broken array", "[" + good("W1") + `,{]`, 1, "2::nothing from this element on"},
		{"an array that breaks off", "[" + good("W1"), 1, "2::breaks off"},
		{"an object over lines", "{\n}", 0, "1::not a JSON object\n2::not a JSON object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := centraltest.New(t, nil)
			code, out := b.Admin("POST", "/v1/waybills", c.body)
			var got waybills.Imported
			if err := json.Unmarshal([]byte(out), &got); err != nil || code != 200 || got.Stored != c.stored || got.Rejected == nil {
				t.Fatalf("%d %s", code, out)
			}
			want := strings.Split(c.rejected, "\n")
			if c.rejected == "" {
				want = nil
			}
			if len(got.Rejected) != len(want) {
				t.Fatalf("rejected %+v, want %q", got.Rejected, want)
			}
			for i, r := range got.Rejected {
				part := strings.SplitN(want[i], ":", 3)
				if fmt.Sprint(r.Line) != part[0] || r.WaybillID != part[1] || !strings.Contains(r.Error, part[2]) {
					t.Errorf("rejected %+v, want %q", r, want[i])
				}
				if strings.Contains(r.Error, centraltest.Receiver) {
					t.Errorf("an error quotes a phone: %s", r.Error)
				}
			}
		})
	}
}

// TestUnknownKeys: a misspelt key is named, what is known of the line is stored.
func TestUnknownKeys(t *testing.T) {
	b := centraltest.New(t, nil)
	line := strings.Replace(centraltest.Line("W1", 1e9), `"receiver":{`, `"weight":3,"receiver":{"stret":"x","Street":"y",`, 1)
	code, out := b.Admin("POST", "/v1/waybills", line+"\n"+line+"\n"+centraltest.Line("W2", 1e9))
	var got waybills.Imported
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 200 || got.Stored != 3 ||
		!slices.Equal(got.UnknownKeys, []string{"weight", "receiver.stret"}) {
		t.Errorf("%d %s", code, out)
	}
}

// TestImportUpserts: the last one counts, a zipped body is taken, and the form of
// the answer has its promised form.
func TestImportUpserts(t *testing.T) {
	b := centraltest.New(t, nil)
	now := time.Now().Unix()
	body := centraltest.Line("W1", now) + "\n" + strings.Replace(centraltest.Line("W1", now), centraltest.Receiver, "13700000000", 1) + "\nx\n"
	code, out := b.Call("POST", "/v1/waybills", centraltest.Zipped(body), "Authorization", "Bearer "+centraltest.AdminToken, "Content-Encoding", "gzip")
	if want := `{"stored":2,"rejected":[{"line":3,"waybill_id":"","error":"not a JSON object"}]}`; code != 200 || strings.TrimSpace(out) != want {
		t.Fatalf("%d %s", code, out)
	}
	wb, _, err := b.Store.Lookup(t.Context(), "W1")
	if err != nil || wb.Data.Receiver.Phone != "13700000000" || !wb.Imported {
		t.Errorf("%+v, %v", wb.Data, err)
	}
}

// TestImportLarge goes over several batches, with more bad lines than are listed.
func TestImportLarge(t *testing.T) {
	b := centraltest.New(t, nil)
	var body bytes.Buffer
	for i := range 2500 {
		fmt.Fprintln(&body, centraltest.Line(fmt.Sprintf("W%05d", i), 1e9))
	}
	body.WriteString(strings.Repeat("x\n", maxRejected+7))
	code, out := b.Admin("POST", "/v1/waybills", body.String())
	var got waybills.Imported
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 200 || got.Stored != 2500 || len(got.Rejected) != maxRejected || got.More != 7 {
		t.Fatalf("%d, %d stored, %d rejected, %d more", code, got.Stored, len(got.Rejected), got.More)
	}
	for _, id := range []scan.WaybillID{"W00000", "W02499"} {
		if _, ok, err := b.Store.Lookup(t.Context(), id); !ok || err != nil {
			t.Errorf("%s: %v %v", id, ok, err)
		}
	}
}

func TestWaybillView(t *testing.T) {
	b := centraltest.New(t, nil)
	now := time.Now().Unix()
	e := centraltest.Event(1, centraltest.Parcel, now)
	e.ActionMsg = "派件中,电话13700137000"
	b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{e, centraltest.Event(2, centraltest.Parcel, now-9)}})
	get := func(path string) (v struct {
		WaybillID  string `json:"waybill_id"`
		CreateTime *int64 `json:"create_time"`
		Sender     *syncapi.Party
		Receiver   *syncapi.Party
		Nodes      []waybills.Node
	}) {
		t.Helper()
		code, out := b.Admin("GET", path, "")
		if err := json.Unmarshal([]byte(out), &v); code != 200 || err != nil {
			t.Fatalf("%d %s", code, out)
		}
		return v
	}
	v := get("/v1/waybills/" + centraltest.Parcel)
	if v.CreateTime != nil || v.Sender != nil || len(v.Nodes) != 2 {
		t.Fatalf("%+v", v)
	}
	want := waybills.Node{"hz-01", e.EventID, now, 200001, "***,**137******00", false, ""}
	if v.Nodes[0] != want || !v.Nodes[1].Late {
		t.Errorf("nodes %+v", v.Nodes)
	}
	b.Import(centraltest.Parcel)
	v = get("/v1/waybills/yt1234567890123")
	if v.CreateTime == nil || v.Receiver.Phone != "138******00" || v.Receiver.Name != "***" || v.Receiver.City != "泉州市" || v.Receiver.Address != "***" {
		t.Errorf("masked: %+v", v.Receiver)
	}
	v = get("/v1/waybills/" + centraltest.Parcel + "?reveal=true")
	if v.Receiver.Phone != centraltest.Receiver || v.Receiver.Name != "李四" || v.Nodes[0].ActionMsg != e.ActionMsg {
		t.Errorf("revealed: %+v", v)
	}
	if code, out := b.Admin("GET", "/v1/waybills/UNKNOWN1", ""); code != 404 || !strings.Contains(out, "error") {
		t.Errorf("unknown: %d %s", code, out)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(centraltest.Line("W1", 1e9) + "\n" + centraltest.Line("W2", 1e9)))
	f.Add([]byte("[" + centraltest.Line("W1", 1e9) + "]"))
	f.Add([]byte(`[{"waybill_id":"W1"},{`))
	b := centraltest.New(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		code, out := b.In(t).Admin("POST", "/v1/waybills", string(body))
		var got waybills.Imported
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != 200 || got.Rejected == nil {
			t.Fatalf("%d %s", code, out)
		}
	})
}
