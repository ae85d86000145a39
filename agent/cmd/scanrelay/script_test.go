package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/rogpeppe/go-internal/testscript"

	"scanrelay/store/snapshot/postgres/pgtest"
	"scanrelay/wechat/fake"
)

func TestMain(m *testing.M) {
	testscript.Main(program{m}, map[string]func(){"scanrelay": main})
}

// program ends the database of the scripts when they have run.
type program struct{ *testing.M }

func (p program) Run() int { return pgtest.Main(p.M) }

// TestScripts runs testdata/*.txt, which read like a manual of the commands.
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../../configs")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Setup: func(e *testscript.Env) error { e.Setenv("EXAMPLES", examples); setMinute(e); return pack(e) },
		Dir:   "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"port": port, "await": await, "publish": publish, "exits": exits, "wechat": weChat, "fault": fault,
			"post": post, "get": get, "envsubst": envsubst,
			"hangup": hangup, "hear": hear, "mosquitto": mosquitto, "reads": reads, "proxy": proxy,
			"database": func(ts *testscript.TestScript, _ bool, args []string) { database(t, ts, args) },
		},
	})
}

// port NAME...: sets each variable to a free address of this machine.
func port(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		ts.Setenv(name, ln.Addr().String())
		ts.Check(ln.Close())
	}
}

// database NAME: sets the variable to the DSN of an empty database.
func database(t *testing.T, ts *testscript.TestScript, args []string) {
	server, name := pgtest.Database(t)
	ts.Setenv(args[0], server.DSN(name))
}

// patience is how long a script waits for what must happen, however slow the
// machine.
const patience = 10 * time.Minute

// await PATTERN COMMAND...: runs the command until its output matches.
func await(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		out, err := output(ts, args[1:])
		if want.MatchString(out) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("no %q within %v (%v); the last output was\n%s", args[0], patience, err, out)
		}
	}
}

// output runs get or a program and returns what it shows.
func output(ts *testscript.TestScript, args []string) (string, error) {
	if args[0] == "get" {
		return fetch(ts, args[1:])
	}
	err := ts.Exec(args[0], args[1:]...)
	return ts.ReadFile("stdout"), err
}

// exits CODE COMMAND...: the command must end with that exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// publish ADDR TOPIC FILE...: publishes each file, QoS 1, as a scanner would,
// and waits for the acknowledgement.
func publish(ts *testscript.TestScript, _ bool, args []string) {
	o := mqtt.NewClientOptions().AddBroker("tcp://" + args[0]).SetClientID("scanner").SetProtocolVersion(4).SetConnectTimeout(patience)
	c := mqtt.NewClient(o)
	wait := func(what string, token mqtt.Token) {
		if !token.WaitTimeout(patience) {
			ts.Fatalf("%s: no answer within %v", what, patience)
		}
		ts.Check(token.Error())
	}
	wait("connect", c.Connect())
	defer c.Disconnect(100)
	for _, file := range args[2:] {
		wait("publish "+file, c.Publish(args[1], 1, false, ts.ReadFile(file)))
	}
}

// hangup: sends SIGHUP to all background programs.
func hangup(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGHUP))
	}
}

// hear ADDR TOPIC FILE COMMAND...: publishes the file again and again while the
// command runs, until it ends.
func hear(ts *testscript.TestScript, _ bool, args []string) {
	o := mqtt.NewClientOptions().AddBroker("tcp://" + args[0]).SetClientID("again").SetProtocolVersion(4)
	c := mqtt.NewClient(o)
	token := c.Connect()
	token.Wait()
	ts.Check(token.Error())
	defer c.Disconnect(100)
	payload, ended := ts.ReadFile(args[2]), make(chan error, 1)
	go func() { ended <- ts.Exec(args[3], args[4:]...) }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			ts.Check(err)
			return
		case <-tick.C:
			c.Publish(args[1], 1, false, payload).WaitTimeout(patience)
		}
	}
}

// mosquitto ADDR: runs one there, with the configuration in mosquitto.conf.
func mosquitto(ts *testscript.TestScript, _ bool, args []string) {
	_, port, err := net.SplitHostPort(args[0])
	ts.Check(err)
	conf := ts.MkAbs("mosquitto.conf")
	text := ts.ReadFile(conf) + "\nlistener " + port + " 127.0.0.1\nallow_anonymous true\nuser root\n"
	ts.Check(os.WriteFile(conf, []byte(text), 0o600))
	cmd := exec.Command("/usr/sbin/mosquitto", "-c", conf)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it is ours
		_ = cmd.Wait()         // it was killed
	})
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", args[0]); err == nil {
			ts.Check(conn.Close())
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("mosquitto does not start")
		}
	}
}

// weChat CENTRAL: runs a simulated WeChat whose reverse lookups go to the
// centre at that address, and sets WECHAT to its URL.
func weChat(ts *testscript.TestScript, _ bool, args []string) {
	we, err := fake.New(fake.Options{BoundByDefault: true, Callback: "http://" + args[0] + "/wechat/callback"})
	ts.Check(err)
	server := httptest.NewServer(we)
	ts.Defer(func() { server.Close(); we.Close() })
	fakes.Store(ts.Name(), we)
	ts.Setenv("WECHAT", server.URL)
	ts.Setenv("APPID", fake.DefaultAppID)
	ts.Setenv("APPSECRET", fake.DefaultSecret)
	ts.Setenv("TOKEN", fake.DefaultToken)
	ts.Setenv("AESKEY", fake.DefaultAESKey)
}

// proxy ADDR: runs an HTTP proxy that finds every name at that address, and sets HTTP_PROXY.
func proxy(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Host = args[0] }})
	ts.Defer(server.Close)
	ts.Setenv("HTTP_PROXY", server.URL)
}

// fault API ERRCODE COUNT: the simulated WeChat answers the next COUNT calls of
// that API with an error; 0 0 takes all faults back.
func fault(ts *testscript.TestScript, _ bool, args []string) {
	we := fakes.Load(ts.Name())
	code, err := strconv.Atoi(args[1])
	ts.Check(err)
	count, err := strconv.Atoi(args[2])
	ts.Check(err)
	script := fake.Script{}
	if count > 0 {
		script.Faults = []fake.Fault{{API: fake.API(args[0]), Errcode: code, Count: count}}
	}
	ts.Check(we.SetScript(script))
}

// get URL [HOST]: shows what a GET answers; HOST is the Host header to send.
func get(ts *testscript.TestScript, _ bool, args []string) {
	text, err := fetch(ts, args)
	ts.Check(err)
	_, err = io.WriteString(ts.Stdout(), text)
	ts.Check(err)
}

func fetch(ts *testscript.TestScript, args []string) (string, error) {
	req, err := http.NewRequest(http.MethodGet, args[0], nil)
	ts.Check(err)
	if len(args) > 1 {
		req.Host = args[1]
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.Status + "\n" + string(body), err
}

// post URL TOKEN FILE: posts a file with that bearer token.
func post(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[2]))
	ts.Check(err)
	defer f.Close()
	req, err := http.NewRequest(http.MethodPost, args[0], f)
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+args[1])
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	ts.Check(resp.Body.Close())
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("POST %s: %s", args[0], resp.Status)
	}
}

// envsubst FILE...: puts the variables' values into the files.
func envsubst(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}
