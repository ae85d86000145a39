package masterkey

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMend: whatever befalls one copy, the file is as it was made once it was looked at,
// and that is said once; what a person wrote with several keys stays, as does what
// nothing was written under.
func TestMend(t *testing.T) {
	k := Random()
	line, other := hex.EncodeToString(k.Reveal()[:]), hex.EncodeToString(Random().Reveal()[:])
	whole := string(copies(k))
	digit := map[bool]string{true: "1", false: "0"}[line[0] == '0']
	path := filepath.Join(t.TempDir(), "a.key")
	for name, is := range map[string]struct {
		content string
		mended  bool
	}{
		"whole":                     {whole, false},
		"a bad page":                {strings.Repeat("\x00", 4096) + whole[4096:], true},
		"the second page bad":       {whole[:secondCopy] + strings.Repeat("\x00", 65), true},
		"another digit":             {digit + whole[1:], true},
		"another digit, the second": {whole[:secondCopy] + digit + whole[secondCopy+1:], true},
		"cut off":                   {whole[:4096], true},
		"too long":                  {whole[:secondCopy] + strings.Repeat("\x00", 4096), true},
		"one line":                  {line, true},
		"behind blanks":             {strings.Repeat(" ", 100) + line, true},
		"two keys":                  {other + "\n" + line + "\n", false},
		"another":                   {other + "\n", false},
		"none":                      {"", false},
		"another's":                 {strings.ReplaceAll(whole, line, other), false},
	} {
		if err := os.WriteFile(path, []byte(is.content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, readOnly := range []bool{true, false} {
			what := Mend(path, func(m Key) bool { return *m.Reveal() == *k.Reveal() }, readOnly)
			if said := strings.Contains(what, "two copies in a.key is damaged"); said != is.mended || strings.Contains(what, "written anew") == (readOnly || !is.mended) {
				t.Errorf("%s: said %q", name, what)
			}
			want := is.content
			if is.mended && !readOnly {
				want = whole
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, []byte(want)) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	}
	if what := Mend(filepath.Join(t.TempDir(), "gone"), func(Key) bool { return true }, false); what != "" {
		t.Errorf("none: %q", what)
	}
}
