package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/update/record"
	"scanrelay/store"
	"scanrelay/uplink/syncapi"
)

// examine runs the command on a configuration.
func examine(t *testing.T, yaml string, env ...string) (code int, found []finding, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		world := cli.IO{Out: &out, Err: &errs, Env: env}
		root := &cli.Command{Use: "scanrelay"}
		root.Add(Command(world, "/nowhere", "v1"))
		code := world.Run(context.Background(), root, append([]string{"doctor", "-c", file}, args...))
		if errs.Len() > 0 {
			t.Errorf("it says on stderr %s", errs.String())
		}
		return code, out.String()
	}
	code, asJSON := run("--json")
	again, text := run()
	var said struct {
		Findings []finding `json:"findings"`
		Failed   bool      `json:"failed"`
	}
	if err := json.Unmarshal([]byte(asJSON), &said); err != nil {
		t.Fatalf("%v: %s", err, asJSON)
	}
	if again != code || said.Failed != (code != 0) {
		t.Errorf("exit codes %d and %d, failed: %v", code, again, said.Failed)
	}
	return code, said.Findings, text
}

// gateway is a configuration of one at which no agent runs, but did.
func gateway(t *testing.T, centre, weChat string) string {
	t.Helper()
	dir := t.TempDir()
	o, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return fmt.Sprintf(`
depot: {id: hz-01, name: 杭州}
data_dir: %s
central: {url: %s, token: 0123456789abcdef}
wechat: {base_url: %s}
mqtt: {broker: embedded, listen: %s, embedded: {users: [{username: g, password: not-a-guess, publish: ["scans/#"]}]}}
sources: [{topic: "scans/#", decoder: json}]
`, dir, centre, weChat, ln.Addr())
}

func grades(found []finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s %s\n", f.Check, f.Grade)
	}
	return b.String()
}

func TestHealthy(t *testing.T) {
	centre := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("%s is sent a credential", r.URL.Path)
		}
		if r.URL.Path == syncapi.NoncePath {
			_, _ = w.Write([]byte(`{"nonce":"n","expires_in":60}`))
		}
	}))
	defer centre.Close()
	weChat := httptest.NewServer(http.NotFoundHandler()) // any answer is one
	defer weChat.Close()
	yaml := gateway(t, centre.URL, weChat.URL)
	code, found, text := examine(t, yaml)
	i := slices.IndexFunc(found, func(f finding) bool { return f.Check == "clock" })
	if i < 0 || code != 0 {
		t.Fatalf("exit code %d:\n%s", code, text)
	}
	found[i].Grade = "?" // the kernel of this machine may know the time or not
	if got, want := grades(found), "configuration ok\nagent warn\nclock ?\ndisk ok\nstore ok\nbroker ok\ncentre ok\nwechat ok\nupdate ok\n"; got != want {
		t.Errorf("it found\n%swant\n%s%s", got, want, text)
	}
	if _, _, zh := examine(t, yaml, "LANG=zh_CN.UTF-8"); !strings.Contains(zh, "未运行") || !strings.Contains(zh, "处理:") || !strings.Contains(zh, "ok    中心           ") {
		t.Errorf("in Chinese it says\n%s", zh)
	}
}

func TestNobodyAnswers(t *testing.T) {
	tryFor = 200 * time.Millisecond
	defer func() { tryFor = 15 * time.Second }()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // it accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	code, found, text := examine(t, gateway(t, "http://"+mute.Addr().String(), "http://a.name.that.is.not.invalid"))
	if got := grades(found); code != 1 || !strings.Contains(got, "centre fail\nwechat fail\nupdate ok\n") {
		t.Errorf("exit code %d, it found\n%s%s", code, got, text)
	}
	for _, f := range found {
		if f.Grade != ok && f.Advice == "" {
			t.Errorf("%s %s without advice: %s", f.Check, f.Grade, f.Text)
		}
		if f.Check == "wechat" && !strings.HasPrefix(f.Text, "name: ") && !strings.HasPrefix(f.Text, "TCP: ") {
			t.Errorf("of a name that is not it says %s", f.Text)
		}
	}
}

// TestFirstDay: before the first start nothing is wrong but that none was.
func TestFirstDay(t *testing.T) {
	yaml := gateway(t, "http://127.0.0.1:1", "http://127.0.0.1:1")
	dir := regexp.MustCompile(`data_dir: (.*)`).FindStringSubmatch(yaml)[1]
	_, found, text := examine(t, strings.Replace(yaml, dir, t.TempDir(), 1))
	if got := grades(found); !strings.Contains(got, "agent warn\n") || strings.Contains(got, "store") {
		t.Errorf("it found\n%s%s", got, text)
	}
}

func TestWrongConfiguration(t *testing.T) {
	code, found, text := examine(t, "depot: {id: hz-01}\nmqtt: {brokr: x}\n")
	if code != 1 || len(found) != 1 || !strings.Contains(text, "brokr") {
		t.Errorf("exit code %d: %s", code, text)
	}
}

func TestChineseFindings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(file, []byte("depot: {id: hz-01}\nmqtt: {brokr: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &examination{IO: cli.IO{Env: []string{"LANG=zh_CN.UTF-8"}}, file: file}
	if f := e.configuration(); !strings.Contains(f.Advice, `mqtt.brokr: 没有这个 key:"brokr"`) {
		t.Errorf("%+v", f)
	}
}

// TestUpdate: what came of the last update, and what keeps a version from running.
func TestUpdate(t *testing.T) {
	root, own := record.Root(t.TempDir()), record.Own(t.TempDir())
	e := &examination{version: "1.0.0"}
	if f := e.update(root, own); f.Grade != ok || f.Text != "version 1.0.0, idle" {
		t.Errorf("before the first: %+v", f)
	}
	st := record.State{Verdict: &record.Verdict{Release: record.Release{Version: "1.1.0"}, Result: record.Bad, Reason: "not subscribed"}}
	if err := own.SetState(st); err != nil {
		t.Fatal(err)
	}
	if f := e.update(root, own); f.Grade != warn || f.Advice == "" || f.Text != "version 1.0.0, rolled_back; 1.1.0 bad: not subscribed" {
		t.Errorf("after a bad one: %+v", f)
	}
	if err := os.WriteFile(filepath.Join(string(root), "record"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f := e.update(root, own); f.Grade != warn || !strings.Contains(f.Text, "the record of the versions cannot be read") {
		t.Errorf("with a record that is spoilt: %+v", f)
	}
}
