package setup

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
	"scanrelay/uplink/syncapi"
)

// centre is one that gives nonces, and nothing else.
func centre(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != syncapi.NoncePath {
			t.Errorf("init called %s", r.URL.Path)
		}
		_, _ = w.Write([]byte(`{"nonce":"n","expires_in":60}`))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func freeAddress(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// reader is of what init prints, and looks at the folder when it is told of a file.
type reader struct {
	bytes.Buffer
	dir   string
	there []int
}

func (r *reader) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), "wrote") {
		all, err := os.ReadDir(r.dir)
		if err != nil {
			return 0, err
		}
		r.there = append(r.there, len(all))
	}
	return r.Buffer.Write(p)
}

// TestNothingHalfDone: who reads what init prints may leave, as head does, and that ends
// the program: before a file is told of all are written.
func TestNothingHalfDone(t *testing.T) {
	out := &reader{dir: t.TempDir()}
	root := &cli.Command{Use: "scanrelay"}
	root.Add(Command(cli.IO{In: strings.NewReader(""), Out: out, Err: &out.Buffer}))
	code := cli.IO{Err: &out.Buffer}.Run(t.Context(), root, []string{"init", "agent", "-c", filepath.Join(out.dir, "agent.yaml"), "--depot-id", "hz-01", "--centre", centre(t),
		"--enrol-token", "sre-abcdefghijklmnopqrstuvwxyz", "--mqtt-listen", freeAddress(t), "--data-dir", filepath.Join(t.TempDir(), "data")})
	if n := len(out.there); code != 0 || n < 2 || out.there[0] != n || out.there[n-1] != n {
		t.Errorf("exit code %d; of %d files these were there: %v\n%s", code, n, out.there, out.String())
	}
}

// initialize runs the command as a person does, who types what typed has; with none
// nobody is at a terminal.
func initialize(t *testing.T, typed string, env []string, args ...string) (code int, out, stderr string) {
	var o, e bytes.Buffer
	world := cli.IO{In: strings.NewReader(typed), Out: &o, Err: &e, Env: env, InTerminal: typed != ""}
	root := &cli.Command{Use: "scanrelay"}
	root.Add(Command(world))
	code = world.Run(context.Background(), root, append([]string{"init"}, args...))
	return code, o.String(), e.String()
}

func TestInit(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "etc", "agent.yaml")
	agent := []string{"agent", "-c", file, "--depot-id", "hz-01", "--depot-name", `杭州"转运"中心`, "--centre", centre(t),
		"--enrol-token", "sre-abcdefghijklmnopqrstuvwxyz", "--mqtt-listen", freeAddress(t), "--data-dir", filepath.Join(dir, "data")}
	code, out, stderr := initialize(t, "", nil, agent...)
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, stderr)
	}
	if !strings.Contains(out, "ok      central.url") || !strings.Contains(out, "ok      mqtt.listen") {
		t.Errorf("what was tried is not told:\n%s", out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "sre-") {
		t.Error("the configuration holds a secret itself")
	}
	cfg, problems := configs.LoadAgent(file, nil)
	if problems.Failed() {
		t.Fatal(problems)
	}
	if cfg.Depot.ID != "hz-01" || cfg.Depot.Name != `杭州"转运"中心` || cfg.Central.EnrolToken.Reveal() != "sre-abcdefghijklmnopqrstuvwxyz" {
		t.Errorf("the configuration is not what was answered: %+v", cfg.Depot)
	}
	if len(cfg.MQTT.Embedded.Users) != 1 || len(cfg.MQTT.Embedded.Users[0].Password.Reveal()) != 16 {
		t.Error("no password was made for the scanners")
	}
	entries, err := os.ReadDir(filepath.Join(dir, "etc"))
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o137 != 0 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}

	file = filepath.Join(dir, "etc", "central.yaml")
	code, out, stderr = initialize(t, "", []string{"LANG=zh_CN.UTF-8"}, "central", "-c", file, "--appid", "wx0123456789abcdef", "--secret", "s3cret-of-the-app",
		"--origin", "https://centre.example.com", "--listen", freeAddress(t), "--ops-listen", freeAddress(t), "--data-dir", filepath.Join(dir, "central"))
	if code != 0 || !strings.Contains(out, "已写入") || !strings.Contains(out, "https://centre.example.com/wechat/callback") {
		t.Fatalf("exit code %d\n%s%s", code, out, stderr)
	}
	centre, problems := configs.LoadCentral(file, nil)
	if problems.Failed() || len(problems) > 0 {
		t.Fatal(problems)
	}
	if len(centre.AdminToken.Reveal()) < 32 || centre.WeChat.Secret.Reveal() != "s3cret-of-the-app" {
		t.Error("the centre's configuration is not what was answered")
	}
}

// A centre on a database gets the key without which it does not start, or is given that
// of the process that is there already.
func TestInitOnADatabase(t *testing.T) {
	dir := t.TempDir()
	dsn := filepath.Join(dir, "dsn")
	if err := os.WriteFile(dsn, []byte("postgres://scanrelay:s3cret@db-1/scanrelay?sslmode=verify-full\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := ""
	for _, name := range []string{"first", "second"} {
		file := filepath.Join(dir, name, "central.yaml")
		args := []string{"central", "-c", file, "--appid", "wx0123456789abcdef", "--secret", "s3cret-of-the-app", "--origin", "https://centre.example.com",
			"--listen", freeAddress(t), "--ops-listen", freeAddress(t), "--dsn-file", dsn, "--data-dir", filepath.Join(dir, "data")}
		if key != "" {
			args = append(args, "--store-key", key)
		}
		if code, out, stderr := initialize(t, "", nil, args...); code != 0 {
			t.Fatalf("exit code %d\n%s%s", code, out, stderr)
		}
		cfg, problems := configs.LoadCentral(file, nil)
		if len(problems) > 0 || cfg.Store.DSN.Reveal() != "postgres://scanrelay:s3cret@db-1/scanrelay?sslmode=verify-full" || len(cfg.Store.Key.Reveal()) != 64 || key != "" && key != cfg.Store.Key.Reveal() {
			t.Fatal(problems, len(cfg.Store.Key.Reveal()))
		}
		key = cfg.Store.Key.Reveal()
		// A purge took the configuration: the next one goes on with the key that is there.
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if code, out, stderr := initialize(t, "", nil, append(slices.Clone(args), "--force")...); code != 0 {
			t.Fatalf("exit code %d\n%s%s", code, out, stderr)
		}
		if code, _, stderr := initialize(t, "", nil, append(args, "--force", "--store-key", strings.Repeat("0", 64))...); code != 1 || !strings.Contains(stderr, "holds another one") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
		if text, err := os.ReadFile(filepath.Join(dir, name, storeKey)); err != nil || strings.TrimSpace(string(text)) != key {
			t.Errorf("the key is another one: %v", err)
		}
	}
}

// A person is asked, and asked again where an answer cannot be.
func TestAsked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.yaml")
	typed := strings.Join([]string{"HZ 01", "hz-01", "杭州", centre(t), "", "a-long-static-token", "", freeAddress(t), "", "", ""}, "\n") + "\n"
	code, out, stderr := initialize(t, typed, []string{"LC_ALL=zh_CN.UTF-8"}, "agent", "-c", file)
	if code != 0 || !strings.Contains(stderr, "网点编号") || strings.Count(stderr, "网点编号") != 2 {
		t.Fatalf("exit code %d\n%s%s", code, out, stderr)
	}
	cfg, problems := configs.LoadAgent(file, nil)
	if problems.Failed() || cfg.Central.Token.Reveal() != "a-long-static-token" {
		t.Fatal(problems)
	}
	// Whoever goes away leaves nothing behind.
	other := filepath.Join(t.TempDir(), "agent.yaml")
	if code, _, stderr := initialize(t, "hz-01\n", nil, "agent", "-c", other); code != 1 || !strings.Contains(stderr, "nothing was written") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("something was written")
	}
}

func TestNeverOverwrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"agent", "-c", file, "--depot-id", "hz-01", "--centre", "http://127.0.0.1:1", "--token", "a-long-static-token", "--mqtt-listen", freeAddress(t)}
	if code, _, stderr := initialize(t, "", nil, args...); code != 1 || !strings.Contains(stderr, "--force") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
		t.Errorf("the file has %q, %v", text, err)
	}
	// Nor is a secret that stands beside it.
	secret := filepath.Join(filepath.Dir(file), scannerPassword)
	if err := os.WriteFile(secret, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := slices.Clone(args)
	other[2] = filepath.Join(filepath.Dir(file), "other.yaml")
	if code, _, stderr := initialize(t, "", nil, other...); code != 1 || !strings.Contains(stderr, "scanner.password is there already") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if text, err := os.ReadFile(secret); err != nil || string(text) != "mine" {
		t.Errorf("the secret is %q, %v", text, err)
	}
	// What cannot be reached now is told, and the line may come later.
	code, out, stderr := initialize(t, "", nil, append(args, "--force")...)
	if code != 0 || !strings.Contains(out, "LOOK    central.url") {
		t.Errorf("exit code %d\n%s%s", code, out, stderr)
	}
}

// What cannot be a configuration is refused, and nothing is written.
func TestRefused(t *testing.T) {
	good := []string{"agent", "--depot-id", "hz-01", "--centre", "http://127.0.0.1:1", "--token", "a-long-static-token"}
	for name, row := range map[string]struct {
		args []string
		code int
		want string
	}{
		"both":     {append(slices.Clone(good), "--token-file", "x"), 2, "give one of --token and --token-file"},
		"no file":  {append(slices.Clone(good[:5]), "--token-file", "/nowhere"), 1, "read --token-file"},
		"nothing":  {[]string{"agent"}, 2, "--depot-id, --centre"},
		"depot":    {append(slices.Clone(good), "--depot-id", "Hangzhou 1"), 2, "--depot-id: must be small letters"},
		"empty":    {append(slices.Clone(good), "--depot-id", " "), 2, "--depot-id: must not be empty"},
		"address":  {append(slices.Clone(good), "--centre", "ftp://x"), 1, "central.url"},
		"listener": {append(slices.Clone(good), "--mqtt-listen", "nowhere"), 1, "mqtt.listen"},
		"injected": {append(slices.Clone(good), "--depot-name", "x\nhttp: {listen: 0.0.0.0:1}"), 2, "--depot-name: must be one line"},
		"origin":   {[]string{"central", "--appid", "wx0123456789abcdef", "--secret", "x", "--origin", "centre"}, 2, "--origin: must begin with https://"},
		"appid":    {[]string{"central", "--appid", "nonsense", "--secret", "s3cret-of-the-app", "--origin", "https://c"}, 2, "--appid: must begin with wx"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			code, out, stderr := initialize(t, "", nil, append(row.args, "-c", filepath.Join(dir, "x.yaml"))...)
			if code != row.code || !strings.Contains(stderr, row.want) {
				t.Errorf("exit code %d, want %d with %q\n%s%s", code, row.code, row.want, out, stderr)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%d files were left, %v", len(left), err)
			}
		})
	}
}
