package mapdevice

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
	"scanrelay/configs"
	"scanrelay/store"
)

// files is the configuration of a folder; a save is noted.
type files struct {
	file  string
	saved string
	fails error
}

func (f *files) Draft(name string, text []byte) configs.Draft {
	return configs.DraftAgent(f.file, nil, name, text)
}

func (f *files) Save(name string, text []byte) (configs.Draft, error) {
	d := f.Draft(name, text)
	if !d.Problems.Failed() && f.fails == nil {
		f.saved = name + ": " + string(text)
	}
	return d, f.fails
}

// desk returns a Desk whose messages come over the channel.
func desk(t *testing.T, rejected ...scan.Reject) (*Desk, *files, chan intake.Message) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.yaml")
	yaml := "depot: {id: hz-01, name: 杭州}\ndata_dir: " + filepath.Dir(file) + "/data\ncentral: {url: http://127.0.0.1:1, token: 0123456789abcdef}\nmqtt: {broker: embedded}\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := configs.LoadAgent(file, nil)
	rules, wrong := mapping.Compile(cfg.Mapping())
	if problems.Failed() || wrong.Err() != nil {
		t.Fatal(problems, wrong)
	}
	f, come := &files{file: file}, make(chan intake.Message)
	return New(Options{
		Files: f, Mapper: mapping.New(rules, nil, nil),
		Listen: func(ctx context.Context, fn func(intake.Message) error) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case m := <-come:
					if err := fn(m); err != nil {
						return err
					}
				}
			}
		},
		Quarantine: func(_ context.Context, fn func(store.Quarantined) error) error {
			for i, r := range rejected {
				if err := fn(store.Quarantined{Seq: uint64(i + 1), Reject: r}); err != nil {
					return err
				}
			}
			return nil
		},
	}), f, come
}

// tell calls the desk and reads its answer.
func tell(t *testing.T, d *Desk, call string, body, into any) int {
	t.Helper()
	h := d.Calls()[call]
	if h == nil {
		t.Fatalf("there is no call %s", call)
	}
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h(w, httptest.NewRequest(strings.Fields(call)[0], "/", bytes.NewReader(data)))
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("%s: %d %s", call, w.Code, w.Body)
		}
	}
	return w.Code
}

// TestRecordsWhileSomebodyLooks: nothing is kept before the first look, nor for long after
// the last.
func TestRecordsWhileSomebodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, come := desk(t)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		synctest.Wait()
		select {
		case come <- intake.Message{Topic: "a"}:
			t.Error("it listens though nobody looks")
		default:
		}
		var list []shown
		tell(t, d, "GET messages", nil, &list)
		synctest.Wait()
		come <- intake.Message{Topic: "a", Payload: []byte(`{"name":"李四","code":"13800138000"}`)}
		for range 3 { // each look prolongs it
			time.Sleep(linger - time.Second)
			tell(t, d, "GET messages", nil, &list)
		}
		if len(list) != 1 || list[0].Outcome != "unmapped" || strings.Contains(fmt.Sprint(list), "李四") || strings.Contains(fmt.Sprint(list), "13800138000") {
			t.Errorf("it keeps %+v", list)
		}
		time.Sleep(2*linger + time.Second)
		synctest.Wait()
		if n := len(d.messages()); n != 0 {
			t.Errorf("%d messages are kept though nobody looks", n)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestKeptIsBounded(t *testing.T) {
	d, _, _ := desk(t)
	for i := range 300 {
		d.keep(intake.Message{Topic: "busy", Payload: fmt.Appendf(nil, "%d", i)})
	}
	if list := d.messages(); len(list) != maxOfTopic || string(list[0].Payload) != "280" {
		t.Errorf("%d of one topic, the first is %s", len(list), list[0].Payload)
	}
	for i := range 300 {
		d.keep(intake.Message{Topic: fmt.Sprint("t/", i), Payload: []byte("x")})
	}
	if n := len(d.messages()); n != maxKept {
		t.Errorf("%d messages", n)
	}
	for i := range 60 {
		d.keep(intake.Message{Topic: fmt.Sprint("l/", i), Payload: make([]byte, maxPayload)})
	}
	sum := 0
	for _, m := range d.messages() {
		sum += cost(&m)
	}
	if sum > maxBytes || sum != d.bytes || sum < maxBytes/2 {
		t.Errorf("%d bytes are kept, counted %d", sum, d.bytes)
	}
	id := d.keep(intake.Message{Topic: "huge", Payload: make([]byte, maxPayload+1)})
	if m, ok := d.find(id); !ok || !m.large || m.Payload != nil || m.Size != maxPayload+1 {
		t.Errorf("of a huge one %+v", m)
	}
	if code := tell(t, d, "POST shape", ask{ID: id}, nil); code != 404 {
		t.Errorf("the shape of a huge one: %d", code)
	}
	var rejected []scan.Reject
	for i := range 50 {
		rejected = append(rejected, scan.Reject{Topic: "scans/x", Payload: fmt.Appendf(nil, "%d", i)})
	}
	rejected = append(rejected, scan.Reject{Topic: "scans/x", Payload: make([]byte, maxPayload+1)})
	d, _, _ = desk(t, rejected...)
	var list []shown
	if tell(t, d, "GET quarantine", nil, &list); len(list) != maxRejected || list[0].ID != "rejected-50" {
		t.Errorf("%d of the quarantine: %+v", len(list), list[0])
	}
}

func TestShapes(t *testing.T) {
	for name, row := range map[string]struct{ topic, payload, decoder, want string }{
		"json":            {"t", `{"a":{"b":["x",{"c":7}]},"姓名":"李四","p":"{\"q\":1}"}`, "", `json /a/b/0[2]=x /a/b/1/c[2]=7 /姓名=** /p/q=1`},
		"array":           {"t", `[{"c":"YT1"},{"c":"YT2"}]`, "", `json /0/c[0]=YT1 /1/c[0]=YT2`},
		"escapes":         {"t", `{"a/b":{"~":1}}`, "", `json /a~1b/~0=1`},
		"base64":          {"t", `{"d":"Nzg2MzYwOTgwNjYyMzk="}`, "", `json /d=Nzg2360980************Yy***=(base64)`},
		"xml":             {"t", `<s id="7"><c>YT1</c></s>`, "", `xml /s/c=YT1 /s/@id=7`},
		"csv":             {"t", "YT1;GOT\nYT2;SIGN", "", `csv [YT1|GOT] [YT2|SIGN]`},
		"text":            {"t", "\x02(C082) A12-3\x03", "", `text ((~C082|) ~A12-3)`},
		"text on purpose": {"t", "a,b", "text", `text (a|,~b)`},
		"no json":         {"t", "{", "json", `json not_json`},
		"no xml":          {"t", "<", "xml", `xml not_xml`},
		"GBK":             {"t", "\xc0\xee\xcb\xc4,1", "", `csv gbk [**|1]`},
		"UTF-16":          {"t", "\xff\xfeY\x00T\x001\x00", "", `text (YT1)`},
		"no sparkplug":    {"spBv1.0/g/DDATA/n/d", "x", "", `sparkplug not_sparkplug`},
	} {
		s := take(row.topic, []byte(row.payload), row.decoder, sparkplug.NewBirths(nil))
		got := strings.TrimSpace(s.Decoder + " " + strings.TrimSpace(s.Encoding+" "+s.Failed))
		for _, n := range s.Nodes {
			if !n.Value {
				continue
			}
			got += " " + n.Pointer
			if len(n.Index) > 0 {
				got += fmt.Sprint(n.Index)
			}
			if got += "=" + n.Text; n.Form != "" {
				got += "(" + n.Form + ")"
			}
		}
		for _, line := range s.Lines {
			var parts []string
			for _, x := range line {
				parts = append(parts, x.Text)
			}
			got += " " + strings.Join(parts, "|")
		}
		plain := func(s string) string {
			return strings.NewReplacer("[", "", "]", "", "(", "", ")", "", "~", "", "|", "").Replace(s)
		}
		if row.decoder == "" && strings.HasPrefix(row.want, "json") && name != "base64" && got != row.want || plain(got) != plain(row.want) && name != "base64" {
			t.Errorf("%s:\n%s, want\n%s", name, got, row.want)
		}
		if name == "base64" && !strings.HasSuffix(got, "(base64)") {
			t.Errorf("base64: %s", got)
		}
	}
}

// FuzzTake: whatever comes is taken apart within bounds, and each value that is shown can
// be found by its pointer.
func FuzzTake(f *testing.F) {
	for _, seed := range []string{"", " \r\n", `{"a":[1,{"b":"x"}]}`, "<a b='c'><d/>x</a>", "a;b\nc;d", "\x02YT1\x03", "[[[[1]]]]", strings.Repeat("[", 300), strings.Repeat("a,", 3000), strings.Repeat("x\n", 100), "\xff\xfea\x00", "\xc0\xee"} {
		f.Add("t/x", []byte(seed), "")
		f.Add("spBv1.0/g/DBIRTH/n/d", []byte(seed), "sparkplug")
	}
	files, _ := filepath.Glob("../../intake/testdata/*.*")
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil {
			f.Add("t", b, "")
			f.Add("t", b, "text")
			f.Add("spBv1.0/express/DBIRTH/n/d", b, "")
		}
	}
	f.Fuzz(func(t *testing.T, topic string, payload []byte, decoder string) {
		if !decoders[decoder] || len(payload) > maxPayload {
			return
		}
		s := take(topic, payload, decoder, sparkplug.NewBirths(nil))
		if len(s.Nodes) > maxLeaves || len(s.Lines) > maxLines {
			t.Errorf("%d values, %d lines", len(s.Nodes), len(s.Lines))
		}
		for _, line := range s.Lines {
			if len(line) > maxWords {
				t.Errorf("%d words", len(line))
			}
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
		m := message{Message: intake.Message{Topic: topic, Payload: payload}}
		for _, n := range s.Nodes {
			if utf8.RuneCountInString(n.Text) > maxText+1 {
				t.Errorf("a value of %d characters", utf8.RuneCountInString(n.Text))
			}
			textsAt(&m, s.Decoder, n.Pointer)
		}
	})
}

const yaml = `sources:
  - topic: "new/+"
    fields: {waybill_id: /code, action_type: /kind, station: "topic[1]"}
    values: {action_type: {揽收: 100001}}
stations: {g1: {action_msg: 已扫描}}
`

// TestTry tells what becomes of what is kept and of the quarantine, and changes nothing.
func TestTry(t *testing.T) {
	d, f, _ := desk(t,
		scan.Reject{Topic: "new/g1", Payload: []byte(`{"code":"YT6900634716900","kind":"揽收"}`), Index: -1, Code: "no_waybill", ReceivedAt: time.Now()},
		scan.Reject{Topic: "new/g1", Payload: []byte(`{"code":"YT6900634716901"}`), Index: -1, ReceivedAt: time.Now()},
		scan.Reject{Topic: "scans/x", Payload: []byte(`{}`), Index: -1, ReceivedAt: time.Now()})
	for i := range 30 {
		d.keep(intake.Message{Topic: "new/g1", Payload: fmt.Appendf(nil, `{"code":"YT69006347169%02d","kind":"揽收","tel":"13800138000"}`, i)})
		d.keep(intake.Message{Topic: "new/g2", Payload: []byte(`{"code":"YT6900634716900","kind":"揽收"}`)})
		d.keep(intake.Message{Topic: "other", Payload: []byte(`{"code":"YT6900634716900"}`)})
	}
	var o outcome
	tell(t, d, "POST try", ask{Name: "m", YAML: yaml}, &o)
	if o.Failed || len(o.Tried) != maxTried || o.Waiting != (waiting{2, 1, 1}) || len(o.Problems) > 0 {
		t.Fatalf("failed %v, %d tried, %+v, %v", o.Failed, len(o.Tried), o.Waiting, o.Problems)
	}
	for _, x := range o.Tried {
		if want := map[string]string{"new/g1": "event", "new/g2": "rejected"}[x.Topic]; !x.Own || x.Reads[0].Outcome != want {
			t.Errorf("%+v", x)
		}
	}
	for text, want := range map[string]string{
		"sources: [{topic: a, decodr: x}]": `unknown key "decodr"`, "sources: [": "", "mqtt: {}": "mqtt",
		"sources: [{topic: scans/x}]\nstations: {a: {action_type: 7}}": "none of WeChat's",
	} {
		o = outcome{}
		if tell(t, d, "POST try", ask{Name: "m", YAML: text}, &o); !o.Failed || len(o.Problems) == 0 || !strings.Contains(o.Problems[0].Text+o.Problems[0].Key, want) || o.Problems[0].File != "m.yaml" {
			t.Errorf("%s: %+v", text, o)
		}
	}
	if f.saved != "" {
		t.Error("it was saved")
	}
}

// TestOneLooksThroughTheQuarantine: whatever pages ask for, one call at a time goes through
// it, and none whose page is gone.
func TestOneLooksThroughTheQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, _ := desk(t)
		looks, now, most := 0, 0, 0
		d.o.Quarantine = func(ctx context.Context, _ func(store.Quarantined) error) error {
			looks, now = looks+1, now+1
			most = max(most, now)
			time.Sleep(time.Second)
			now--
			return ctx.Err()
		}
		ask := func(ctx context.Context, call string) {
			body := strings.NewReader(`{"name":"m","yaml":"sources: [{topic: a}]"}`)
			d.Calls()[call](httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, strings.Fields(call)[0], "/", body))
		}
		gone, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { ask(t.Context(), "POST try") })
			all.Go(func() { ask(t.Context(), "GET quarantine") })
		}
		synctest.Wait()
		for range 3 {
			all.Go(func() { ask(gone, "POST try") })
		}
		synctest.Wait()
		leave()
		all.Wait()
		if most != 1 || looks != 6 {
			t.Errorf("%d looks, %d at a time", looks, most)
		}
	})
}

func TestWordsOfAnAction(t *testing.T) {
	d, _, _ := desk(t)
	id := ""
	for _, word := range []string{"揽收", "GOT", "派件 2", "13800138000", "揽收"} {
		id = d.keep(intake.Message{Topic: "a", Payload: fmt.Appendf(nil, `{"l":[{"k":%q}]}`, word)})
	}
	d.keep(intake.Message{Topic: "b", Payload: []byte(`{"l":[{"k":"other"}]}`)})
	var list []string
	if tell(t, d, "POST words", ask{ID: id, Decoder: "json", Pointer: "/l/*/k"}, &list); !slices.Equal(list, []string{"揽收", "GOT", "派件 2"}) {
		t.Errorf("%q", list)
	}
	for i := range 60 {
		id = d.keep(intake.Message{Topic: "c", Payload: fmt.Appendf(nil, "a%c;b%c\nc%c;d%c", 'a'+i%26, 'a'+i%25, 'a'+i%24, 'a'+i%23)})
	}
	if tell(t, d, "POST words", ask{ID: id, Decoder: "csv", Pointer: "/0"}, &list); len(list) != wordsShown {
		t.Errorf("%d words: %q", len(list), list)
	}
}

// TestWrapped: a payload that is packed, or in base64 or hex as a whole, is shown as what is
// in it, and its actions' words are found.
func TestWrapped(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte(`{"no":"YT6900634716900","k":"揽收"}`))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	csv := []byte("YT6900634716900,GOT")
	for _, row := range []struct {
		payload                         []byte
		decoder, wrapped, pointer, word string
	}{
		{packed.Bytes(), "json", "", "/k", "揽收"},
		{[]byte(base64.StdEncoding.EncodeToString(csv) + "\r\n"), "csv", "base64", "/1", "GOT"},
		{[]byte(hex.EncodeToString(csv)), "csv", "hex", "/1", "GOT"},
		{[]byte("786360980662391234"), "text", "", "", ""}, // digits are a code
	} {
		d, _, _ := desk(t)
		id := d.keep(intake.Message{Topic: "new/g1", Payload: row.payload})
		var s shape
		if tell(t, d, "POST shape", ask{ID: id}, &s); s.Decoder != row.decoder || s.Wrapped != row.wrapped {
			t.Errorf("%.30q: %+v", row.payload, s)
		}
		if row.word == "" {
			continue
		}
		var list []string
		if tell(t, d, "POST words", ask{ID: id, Decoder: s.Decoder, Pointer: row.pointer}, &list); !slices.Equal(list, []string{row.word}) {
			t.Errorf("%.30q: words %q", row.payload, list)
		}
		text := "sources: [{topic: new/+, decoder: json, fields: {waybill_id: /no, action_type: /k, station: '=s'}, values: {action_type: {揽收: 100001}}}]\n"
		if row.wrapped != "" { // as the page builds it
			text = "sources: [{topic: new/+, decoder: csv, columns: [waybill_id, action_type], fields: {station: '=s'}, values: {action_type: {GOT: 100001}}, " + row.wrapped + ": [payload]}]\n"
		}
		var o outcome
		if tell(t, d, "POST try", ask{Name: "m", YAML: text + "stations: {s: {action_msg: x}}"}, &o); len(o.Tried) != 1 || o.Tried[0].Events != 1 {
			t.Errorf("%.30q: %+v", row.payload, o)
		}
	}
}

func TestSave(t *testing.T) {
	d, f, _ := desk(t)
	var s saved
	if tell(t, d, "POST save", ask{Name: "m-1", YAML: yaml}, &s); s.Failed || s.File != "sources.d/m-1.yaml" || f.saved != "m-1: "+yaml {
		t.Errorf("%+v, saved %q", s, f.saved)
	}
	for _, a := range []ask{{Name: "../m", YAML: yaml}, {Name: "", YAML: yaml}, {Name: "A", YAML: yaml}, {Name: strings.Repeat("a", 41), YAML: yaml}, {Name: "m", YAML: strings.Repeat("#", maxYAML+1)}, {Name: "m", YAML: strings.Repeat("#", maxBody)}} {
		if code := tell(t, d, "POST save", a, nil); code != 400 && code != 413 {
			t.Errorf("%.20q, %d bytes: %d", a.Name, len(a.YAML), code)
		}
	}
	if tell(t, d, "POST save", ask{Name: "m-2", YAML: "sources: [{}]"}, &s); !s.Failed || strings.HasPrefix(f.saved, "m-2") {
		t.Errorf("%+v", s)
	}
	f.fails = os.ErrPermission
	if code := tell(t, d, "POST save", ask{Name: "m-3", YAML: yaml}, nil); code != 500 {
		t.Errorf("a disk that cannot be written: %d", code)
	}
	if code := tell(t, d, "POST paste", ask{Topic: "t", Payload: strings.Repeat("x", maxPayload+1)}, nil); code != 400 {
		t.Errorf("a paste that is too large: %d", code)
	}
}
