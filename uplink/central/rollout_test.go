package central_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/update/release"
	"scanrelay/configs/secret"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/central/internal/documents"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
)

// repository is one with a release.
func repository(t testing.TB, version string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	r, phrase := release.Repository{Dir: dir}, secret.Text("correct horse")
	var roots []*release.Key
	for _, name := range []string{"a", "b", "c"} {
		k, err := release.NewOnlineKey(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, k)
	}
	if err := r.Init(filepath.Join(dir, "keys"), phrase, roots); err != nil {
		t.Fatal(err)
	}
	elf := append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00\x01\x00\x00\x00"), make([]byte, 40)...)
	elf[52] = 64
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, elf, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"targets", "snapshot", "timestamp"} {
		if role == "targets" { // what Init has not published waits for these keys, too
			if _, err := r.Add(release.Release{Name: "scanrelay", Version: version}, []string{program}); err != nil {
				t.Fatal(err)
			}
		}
		k, err := release.LoadKey(filepath.Join(dir, "keys", role+".key"), phrase)
		if err == nil {
			_, err = r.Sign(k)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRollout: an operator begins one, gateways are told with their syncs, also those that
// speak another version of it, and what they say of themselves is shown.
func TestRollout(t *testing.T) {
	const viewer, operator = "viewer-token-viewer-token", "operator-token-operator-token"
	dir := repository(t, "1.1.0")
	b := centraltest.New(t, func(o *central.Options) {
		o.Config.Updates.Dir = dir
		o.Config.Operators = []caller.Operator{{Name: "v", Token: viewer, Role: caller.Viewer}, {Name: "o", Token: operator, Role: caller.Actor}}
	})
	call := func(want int, token, method, path, body, says string) {
		t.Helper()
		if code, out := b.Call(method, path, body, "Authorization", "Bearer "+token); code != want || !strings.Contains(out, says) {
			t.Errorf("%s %s: %d %s", method, path, code, out)
		}
	}
	plan := `{"version":"1.1.0","rings":[1],"soak_seconds":3600,"halt_at":0.02}`
	idle := syncapi.Request{Update: &directive.UpdateState{Version: "1.0.0", State: "idle", Reason: "李四\n" + strings.Repeat("x", 1000)}}
	if d := b.Sync(centraltest.TokenHZ, idle).Directives; d != nil {
		t.Errorf("before there is a rollout: %+v", d)
	}
	call(200, viewer, "GET", "/v1/rollouts", "", `"now":null`)
	call(403, viewer, "POST", "/v1/rollouts", plan, "role operator")
	call(401, centraltest.TokenHZ, "POST", "/v1/rollouts", plan, "")
	call(400, operator, "POST", "/v1/rollouts", "[", "JSON")
	call(409, operator, "POST", "/v1/rollouts", strings.ReplaceAll(plan, "1.1.0", "1.2.0"), "has no version 1.2.0")
	call(409, operator, "POST", "/v1/rollouts", strings.ReplaceAll(plan, "[1]", "[0.5,0.1]"), "rise")
	call(200, operator, "POST", "/v1/rollouts", plan, `"state":"running"`)
	d := b.Sync(centraltest.TokenHZ, idle).Directives
	if d == nil || d.Update == nil || d.Update.Version != "1.1.0" || d.Hold {
		t.Fatalf("a gateway is told %+v", d)
	}
	if d := b.Sync(centraltest.TokenSH, syncapi.Request{}).Directives; d != nil {
		t.Errorf("one that says nothing of updates is told %+v", d)
	}
	call(409, centraltest.TokenHZ, "POST", "/v1/sync", `{"v":9,"events":5,"update":{"version":"1.0.0","state":"idle"}}`, `"update":{"version":"1.1.0"`)
	call(200, operator, "POST", "/v1/rollouts/pause", "", `"state":"paused"`)
	if d := b.Sync(centraltest.TokenHZ, idle).Directives; d == nil || !d.Hold {
		t.Errorf("paused: %+v", d)
	}
	call(200, viewer, "GET", "/v1/rollouts", "", `"needs":["paused"`)
	call(200, viewer, "GET", "/v1/depots/hz-01", "", `"state":"idle"`)
	if _, out := b.Call("GET", "/v1/depots", "", "Authorization", "Bearer "+viewer); strings.Contains(out, "李四") || strings.Contains(out, strings.Repeat("x", 300)) {
		t.Error("a depot's text is shown as it came")
	}
	call(200, operator, "POST", "/v1/rollouts/halt", "", `"why":"by o"`)
	call(409, operator, "POST", "/v1/rollouts/halt", "", "nothing to halt")
	call(200, operator, "POST", "/v1/rollouts/back", "", `"state":"back"`)
}

// TestReleasesExpire: operators are told before gateways take no release any more.
func TestReleasesExpire(t *testing.T) {
	b := centraltest.New(t, func(o *central.Options) {
		o.Config.Updates.Dir = repository(t, "1.1.0")
		o.Now = func() time.Time { return time.Now().Add(350 * 24 * time.Hour) }
	})
	if code, out := b.Admin("GET", "/v1/alarms", ""); code != 200 || !strings.Contains(out, `"releases_expire"`) || !strings.Contains(out, "metadata targets expires") {
		t.Errorf("%d %s", code, out)
	}
}

// TestVersionThatIsNone: what a gateway says instead of a version is kept cut and in ASCII,
// whichever field it stands in.
func TestVersionThatIsNone(t *testing.T) {
	table := documents.New(nil)
	b := centraltest.New(t, func(o *central.Options) { o.Config.Updates.Dir, o.Documents = repository(t, "1.1.0"), table })
	if code, out := b.Admin("POST", "/v1/rollouts", `{"version":"1.1.0","rings":[1],"soak_seconds":3600,"halt_at":0.02}`); code != 200 {
		t.Fatal(out)
	}
	long := "李四" + strings.Repeat("x", 1<<16)
	for _, version := range []string{"", long} {
		b.Sync(centraltest.TokenHZ, syncapi.Request{Agent: long, Update: &directive.UpdateState{Version: version, State: "idle"}})
		doc, _, err := table.Document(t.Context(), "rollout/group/depot/hz-01")
		if err != nil || len(doc) == 0 || len(doc) > 1000 || strings.Contains(string(doc), "李四") {
			t.Errorf("%d bytes are kept: %.80s, %v", len(doc), doc, err)
		}
	}
}

// TestDamagedRollout: a centre whose rollout and configurations cannot be read says so, and
// answers depots all the same.
func TestDamagedRollout(t *testing.T) {
	table := documents.New(map[string][]byte{"rollout/now": []byte("{"), "config/index": []byte("{")})
	b := centraltest.New(t, func(o *central.Options) { o.Documents = table })
	if d := b.Sync(centraltest.TokenHZ, syncapi.Request{Update: &directive.UpdateState{Version: "1.0.0", State: "idle"}}).Directives; d != nil {
		t.Errorf("a gateway is told %+v", d)
	}
	if told := table.Damage(); len(told) != 2 {
		t.Errorf("told: %q", told)
	}
}
