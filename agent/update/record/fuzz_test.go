package record_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/agent/update/record"
)

// FuzzRequest: what another user wrote is a request or an error, and never a way out of
// the folder of the versions.
func FuzzRequest(f *testing.F) {
	own := record.Own(f.TempDir())
	_, err := own.Ask(record.OpCommit, release("1.2.3"))
	right, err2 := os.ReadFile(filepath.Join(string(own), record.RequestFile))
	if err := errors.Join(err, err2); err != nil {
		f.Fatal(err)
	}
	f.Add(right)
	f.Add([]byte(nil))
	f.Add([]byte("scanrelay-update-request 1 00000000\n{}"))
	f.Add([]byte("scanrelay-update-request 99 ffffffff\n"))
	f.Add([]byte("\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if r, err := record.DecodeRequest(content); err != nil && r != (record.Request{}) && !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%q is %+v, %v", content, r, err)
		}
	})
}

// FuzzVersion: what passes for a version is one name of a folder, which none of the other
// files there has, and is ordered.
func FuzzVersion(f *testing.F) {
	for _, v := range []string{"1.2.3", "1.2.3-rc.1+abc", "..", "1.2.3/..", "record", "incoming", "", "0.1.0-dev+0123456789ab.dirty"} {
		f.Add(v, "1.2.3")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if record.Newer(a, b) && record.Newer(b, a) || record.Newer(a, a) {
			t.Errorf("%q and %q are each newer", a, b)
		}
		if release(a).Check() != nil {
			return
		}
		if !filepath.IsLocal(a) || filepath.Base(a) != a || strings.HasSuffix(a, ".tmp") && !strings.ContainsAny(a, "-+") || a == "record" || a == "current" || a == "incoming" {
			t.Errorf("%q is a version", a)
		}
	})
}
