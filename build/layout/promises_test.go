package layout

import (
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var testName = regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*[a-z0-9]\b`)

// TestPromisesAreHeld holds the pages and package comments to the tests that
// they name: each of these is in the tree.
func TestPromisesAreHeld(t *testing.T) {
	have := map[string]bool{}
	for _, f := range readTree(t) {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test {
				have[fn.Name.Name] = true
			}
		}
	}
	named := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipFolder(path, d.Name())
		}
		if d.Name() != "doc.go" && !strings.HasSuffix(path, ".md") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, name := range testName.FindAllString(string(text), -1) {
			named++
			if !have[name] {
				t.Errorf("%s names %s, which is not in the tree", path, name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if named < 50 {
		t.Errorf("%d tests are named: were the pages found?", named)
	}
}
