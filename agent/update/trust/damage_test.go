package trust

import (
	"os"
	"testing"
)

// stateDamages are what a power cut or a bad disk makes of a small file.
var stateDamages = map[string]func(t *testing.T, path string){
	"zero bytes": func(t *testing.T, path string) { put(t, path, nil) },
	"NULs":       func(t *testing.T, path string) { put(t, path, make([]byte, 4096)) },
	"garbage":    func(t *testing.T, path string) { put(t, path, []byte("\x7fELF what is this")) },
	"half of it": func(t *testing.T, path string) {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		put(t, path, whole[:len(whole)/2])
	},
}

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
