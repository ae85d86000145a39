package waybills_test

import (
	"bytes"
	"encoding/json"
	"fmt"
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
		{"no receiver", without("receiver"), 0, "1:W1:receiver.name is missing; receiver.phone is missing"},
		{"number with a space", good("W 1"), 0, "1:W 1:space"},
		{"number too long", good(strings.Repeat("W", 65)), 0, "1:" + strings.Repeat("W", 64) + ":longer"},
		{"a line too long", good("W1") + "\n" + strings.Repeat("x", 128<<10) + "\n" + good("W2"), 2, "2::longer than"},
		{"an element that is no object", "[" + good("W1") + `,5,` + good("W2") + "]", 2, "2::not a JSON object"},
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
	want := waybills.Node{"hz-01", e.EventID, now, 200001, "派件中,电话137******00", false}
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
