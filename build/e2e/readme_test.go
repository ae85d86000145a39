package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"scanrelay/build/rig"
	"scanrelay/wechat/fake"
)

// TestReadme follows the five minutes of the top README to the letter, but for
// the ports and for WeChat, and has the scan pushed in the end.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "## A real centre and a real depot in five minutes\n")
	text, _, _ = strings.Cut(text, "\n## ")
	central, broker, page := rig.FreeAddr(t), rig.FreeAddr(t), rig.FreeAddr(t)
	_, port, err := net.SplitHostPort(broker)
	if err != nil {
		t.Fatal(err)
	}
	text = strings.NewReplacer("127.0.0.1:8080", central, "mosquitto_pub ", "mosquitto_pub -p "+port+" ").Replace(text)

	wechat := rig.NewWeChat(t, fake.Options{
		AppID: "wx0123456789abcdef", Secret: "the AppSecret", Token: "theToken",
		AESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", BoundByDefault: true,
	})
	wechat.SetCallback("http://" + central + "/wechat/callback")
	env := map[string][]string{
		"central": {"SCANRELAY_LISTEN=" + central},
		"agent":   {"SCANRELAY_MQTT_LISTEN=" + broker, "SCANRELAY_HTTP_LISTEN=" + page},
	}
	ready := map[string]string{"central": central, "agent": page}

	t.Chdir(t.TempDir())
	if err := os.MkdirAll("build/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(plainBinary, "build/bin/scanrelay"); err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?ms)^```(yaml|sh)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		if name, _, isFile := strings.Cut(strings.TrimPrefix(block[2], "# "), "\n"); block[1] == "yaml" && isFile {
			if err := os.WriteFile(name, []byte(block[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		commands, role, runs := strings.Cut(block[2], "build/bin/scanrelay central ")
		name := "central"
		if !runs {
			commands, role, runs = strings.Cut(block[2], "build/bin/scanrelay agent ")
			name = "agent"
		}
		bash(t, commands)
		if runs {
			argv := append([]string{"build/bin/scanrelay", name}, strings.Fields(role)...)
			rig.NewRole(t, name, argv, append(env[name], "SCANRELAY_WECHAT_BASE_URL="+wechat.URL())...).Start()
			awaitAnswer(t, name, "http://"+ready[name]+"/readyz")
		}
	}
	rig.Await(t, "the scan to be pushed", func() (bool, string) {
		return len(wechat.Pushes()) == 1, fmt.Sprintf("%+v", wechat.Calls())
	})
	if p := wechat.Pushes()[0]; p.WaybillID != "YT6900634716900" || p.Node.ActionMsg != "快件到达 【杭州转运中心】" {
		t.Errorf("pushed %+v", p)
	}
	if err := wechat.CheckURL(t.Context()); err != nil {
		t.Error(err)
	}
}

// bash runs commands as the README's reader does: each must succeed.
func bash(t *testing.T, commands string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
	out, err := cmd.CombinedOutput()
	t.Logf("%s\n%s", commands, out)
	if err != nil {
		t.Fatal(err)
	}
}

func awaitAnswer(t *testing.T, name, url string) {
	t.Helper()
	rig.Await(t, name+" to be ready", func() (bool, string) {
		resp, err := http.Get(url)
		if err != nil {
			return false, err.Error()
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.Status
	})
}
