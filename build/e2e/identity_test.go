package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/build/rig"
)

// scanrelay runs a command of the program and returns what it printed.
func scanrelay(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), plainBinary, args...).CombinedOutput()
	return string(out), err
}

func mustScanrelay(t *testing.T, args ...string) string {
	t.Helper()
	out, err := scanrelay(t, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// TestIdentities has two processes of a centre on one database. A depot that is added
// at one is enrolled at the other, and changes its key; a copy of its gateway is
// noticed, and what one process has revoked the other refuses.
func TestIdentities(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	one := newSite(t, rig.Options{Binary: plainBinary, Embedded: true, Database: db.DSN("postgres")})
	two := newSite(t, rig.Options{Binary: plainBinary, Embedded: true, Database: db.DSN("postgres")})
	one.StartCentral()
	two.StartCentral()
	dir := t.TempDir()
	config := func(name string, centre *rig.Site) string {
		path := filepath.Join(dir, name+".yaml")
		text := fmt.Sprintf("depot: {id: nb-07}\ndata_dir: %s\nmqtt: {broker: embedded, listen: \"127.0.0.1:0\"}\ncentral: {url: \"http://%s\"}\nhttp: {listen: \"\"}\n",
			filepath.Join(dir, name), centre.CentralHTTP)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	status := func(file, want string) {
		t.Helper()
		rig.Await(t, want, func() (bool, string) {
			out, err := scanrelay(t, "status", "-c", file)
			return err == nil && strings.Contains(out, want), out
		})
	}

	file := config("gateway", two)
	agent := rig.NewRole(t, "gateway", []string{plainBinary, "agent", "-c", file})
	agent.Start()
	status(file, "the depot has no credential")
	token := strings.Split(mustScanrelay(t, "depot", "add", "nb-07", "-c", one.CentralFile), "\t")[1]
	mustScanrelay(t, "enrol", "--token", token, "-c", file)
	rig.Await(t, "the agent to take the key up", func() (bool, string) {
		out, err := scanrelay(t, "status", "--json", "-c", file)
		return err == nil && strings.Contains(out, `"central":{"connected":true`), out
	})
	mustScanrelay(t, "enrol", "--renew", "-c", file)
	if out := mustScanrelay(t, "depot", "show", "nb-07", "-c", two.CentralFile); !strings.Contains(out, "renewed") || !strings.Contains(out, "linux/") || !strings.Contains(out, "0 wait") {
		t.Errorf("the other process shows\n%s", out)
	}

	copied := config("copy", one)
	if err := os.CopyFS(filepath.Join(dir, "copy", "identity"), os.DirFS(filepath.Join(dir, "gateway", "identity"))); err != nil {
		t.Fatal(err)
	}
	clone := rig.NewRole(t, "copy", []string{plainBinary, "agent", "-c", copied})
	clone.Start()
	status(file, "another machine, or a later start of the agent, runs with the identity of depot nb-07")
	for _, centre := range []*rig.Site{one, two} {
		if out := mustScanrelay(t, "depot", "list", "-c", centre.CentralFile); !strings.Contains(out, "identity_cloned") {
			t.Errorf("no alarm:\n%s", out)
		}
	}

	mustScanrelay(t, "depot", "revoke", "nb-07", "--reason", "stolen", "-c", two.CentralFile)
	status(copied, "depot nb-07 is revoked")
	if out, err := scanrelay(t, "enrol", "--token", token, "-c", copied); err == nil {
		t.Errorf("the used token opens a revoked depot:\n%s", out)
	}
	for _, role := range []*rig.Role{agent, clone, one.Central, two.Central} {
		if log := role.Log(); strings.Contains(log, token) || strings.Contains(log, "srs1.") {
			t.Error("a token or a session stands in a log")
		}
	}
}
