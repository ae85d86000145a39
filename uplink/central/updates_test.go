package central_test

import (
	"os"
	"path/filepath"
	"testing"

	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/centraltest"
)

// The repository is there for depots, and for nobody else; without one there is nothing.
func TestUpdatesAreForDepots(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "1.root.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := centraltest.New(t, func(o *central.Options) { o.Config.Updates.Dir = dir })
	for token, want := range map[string]int{centraltest.TokenHZ: 200, centraltest.AdminToken: 401, "": 401} {
		if code, body := b.Call("GET", "/v1/updates/1.root.json", "", "Authorization", "Bearer "+token); code != want {
			t.Errorf("%q: %d %s", token, code, body)
		}
	}
	if code, _ := centraltest.New(t, nil).Call("GET", "/v1/updates/1.root.json", "", "Authorization", "Bearer "+centraltest.TokenHZ); code != 404 {
		t.Errorf("without a repository: %d", code)
	}
}
