package central

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
)

func TestImport(t *testing.T) {
	now := time.Now().Unix()
	good := func(id string) string { return waybillLine(id, now) }
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
		{"create_time in milliseconds", waybillLine("W1", now*1000), 0, "1:W1:create_time lies in the future"},
		{"create_time is missing", without("create_time"), 0, "1:W1:create_time is missing"},
		{"no receiver", without("receiver"), 0, "1:W1:receiver.name is missing; receiver.phone is missing"},
		{"number with a space", good("W 1"), 0, "1:W 1:space"},
		{"number too long", good(strings.Repeat("W", 65)), 0, "1:" + strings.Repeat("W", 64) + ":longer"},
		{"a line too long", good("W1") + "\n" + strings.Repeat("x", 2*maxLine) + "\n" + good("W2"), 2, "2::longer than"},
		{"an element that is no object", "[" + good("W1") + `,5,` + good("W2") + "]", 2, "2::not a JSON object"},
		{"a broken array", "[" + good("W1") + `,{]`, 1, "2::nothing from this element on"},
		{"an array that breaks off", "[" + good("W1"), 1, "2::breaks off"},
		{"an object over lines", "{\n}", 0, "1::not a JSON object\n2::not a JSON object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			code, out := b.admin("POST", "/v1/waybills", c.body)
			var got imported
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
				if strings.Contains(r.Error, receiver) {
					t.Errorf("an error quotes a phone: %s", r.Error)
				}
			}
		})
	}
}

// TestImportUpserts: the last one counts, a zipped body is taken, and the form of
// the answer is what interfaces.md says.
func TestImportUpserts(t *testing.T) {
	b := newBench(t, nil)
	now := time.Now().Unix()
	body := waybillLine("W1", now) + "\n" + strings.Replace(waybillLine("W1", now), receiver, "13700000000", 1) + "\nx\n"
	code, out := b.call("POST", "/v1/waybills", zipped(body), "Authorization", "Bearer "+adminToken, "Content-Encoding", "gzip")
	if want := `{"stored":2,"rejected":[{"line":3,"waybill_id":"","error":"not a JSON object"}]}`; code != 200 || strings.TrimSpace(out) != want {
		t.Fatalf("%d %s", code, out)
	}
	wb, _, err := b.store.Lookup(t.Context(), "W1")
	if err != nil || wb.Data.Receiver.Phone != "13700000000" || !wb.Imported {
		t.Errorf("%+v, %v", wb.Data, err)
	}
}

// TestImportLarge goes over several batches, with more bad lines than are listed.
func TestImportLarge(t *testing.T) {
	b := newBench(t, nil)
	var body bytes.Buffer
	for i := range 2500 {
		fmt.Fprintln(&body, waybillLine(fmt.Sprintf("W%05d", i), 1e9))
	}
	body.WriteString(strings.Repeat("x\n", maxRejected+7))
	code, out := b.admin("POST", "/v1/waybills", body.String())
	var got imported
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 200 || got.Stored != 2500 || len(got.Rejected) != maxRejected || got.More != 7 {
		t.Fatalf("%d, %d stored, %d rejected, %d more", code, got.Stored, len(got.Rejected), got.More)
	}
	for _, id := range []scan.WaybillID{"W00000", "W02499"} {
		if _, ok, err := b.store.Lookup(t.Context(), id); !ok || err != nil {
			t.Errorf("%s: %v %v", id, ok, err)
		}
	}
}

// TestAdminOnly: what needs the admin token does not open without it.
func TestAdminOnly(t *testing.T) {
	b := newBench(t, nil)
	closed := newBench(t, func(o *Options) { o.Config.AdminToken = "" })
	for _, c := range []struct{ method, path string }{{"POST", "/v1/waybills"}, {"GET", "/v1/waybills/W1"}, {"GET", "/"}} {
		for _, authorization := range []string{"", "Bearer ", "Bearer wrong", "Bearer " + tokenHZ, "Basic eDp3cm9uZw=="} {
			if code, _ := b.call(c.method, c.path, "", "Authorization", authorization); code != 401 {
				t.Errorf("%s %s with %q: %d", c.method, c.path, authorization, code)
			}
			if code, _ := closed.call(c.method, c.path, "", "Authorization", authorization); code != 403 {
				t.Errorf("%s %s where there is no admin token, with %q: %d", c.method, c.path, authorization, code)
			}
		}
	}
	if code, _ := b.call("GET", "/v1/waybills/W1", "", "Authorization", "Basic eDphZG1pbi1zZWNyZXQ="); code != 404 {
		t.Errorf("the admin token as a password: %d", code)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(waybillLine("W1", 1e9) + "\n" + waybillLine("W2", 1e9)))
	f.Add([]byte("[" + waybillLine("W1", 1e9) + "]"))
	f.Add([]byte(`[{"waybill_id":"W1"},{`))
	b := newBench(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		code, out := b.in(t).admin("POST", "/v1/waybills", string(body))
		var got imported
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != 200 || got.Rejected == nil {
			t.Fatalf("%d %s", code, out)
		}
	})
}

func FuzzSync(f *testing.F) {
	f.Add([]byte(`{"v":1,"epoch":"00000000000000aa","next_seq":2,"from":1,"events":[{"seq":1,"event_id":"e","waybill_id":"W1","action_time":1,"action_type":200001,"action_msg":"x"}],"backlog":-1}`))
	f.Add([]byte(`{"v":1,"epoch":"00000000000000aa","ask":[{"epoch":"00000000000000aa"}],"waiting":[""],"bindings":[{"age":-1}],"bad_token":"x"}`))
	f.Add([]byte(`{"v":1,"epoch":"00000000000000aa","next_seq":18446744073709551615,"from":18446744073709551615}`))
	b := newBench(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		code, out := b.in(t).call("POST", "/v1/sync", string(body), "Authorization", "Bearer "+tokenHZ)
		if code != 200 && code != 400 && code != 413 && code != 501 || !json.Valid([]byte(out)) {
			t.Fatalf("%d %s", code, out)
		}
	})
}
