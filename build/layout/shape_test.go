package layout

import (
	"go/ast"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// TestTopLevel keeps the top of the tree to the six folders and the four files
// that everybody expects there; names with a dot in front are tools' own, and
// what .gitignore names is left by who tried the program.
func TestTopLevel(t *testing.T) {
	expected := []string{
		"agent", "store", "uplink", "wechat", "configs", "build",
		"go.mod", "go.sum", "Makefile", "README.md",
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	ignored := ignoredAtTop(t)
	for _, e := range entries {
		own := strings.HasPrefix(e.Name(), ".") || slices.ContainsFunc(ignored, func(pattern string) bool {
			match, err := path.Match(pattern, e.Name())
			return match && err == nil
		})
		if !own && !slices.Contains(expected, e.Name()) {
			t.Errorf("%s does not belong at the top level", e.Name())
		}
	}
	for _, name := range expected {
		if _, err := os.Stat(root + "/" + name); err != nil {
			t.Errorf("the top level lacks %s", name)
		}
	}
}

// ignoredAtTop returns the patterns of .gitignore that hold at the top alone.
func ignoredAtTop(t *testing.T) (patterns []string) {
	t.Helper()
	text, err := os.ReadFile(root + "/.gitignore")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if pattern, ok := strings.CutPrefix(strings.TrimSpace(line), "/"); ok {
			patterns = append(patterns, strings.TrimSuffix(pattern, "/"))
		}
	}
	return patterns
}

// TestEveryPackageSaysWhatItIs asks for a doc.go with a package comment of some
// substance, and for no second package comment that contradicts it.
func TestEveryPackageSaysWhatItIs(t *testing.T) {
	files := readTree(t)
	for _, pkg := range packages(files) {
		i := slices.IndexFunc(files, func(f file) bool { return f.path == pkg+"/doc.go" })
		if i < 0 {
			t.Errorf("package %s has no doc.go", pkg)
			continue
		}
		checkComment(t, pkg, files[i].syntax)
		for _, f := range files {
			if f.pkg == pkg && f.path != pkg+"/doc.go" && f.syntax.Doc != nil {
				t.Errorf("%s has a package comment too: it belongs into doc.go", f.path)
			}
		}
	}
}

func checkComment(t *testing.T, pkg string, syntax *ast.File) {
	t.Helper()
	start := "Package " + syntax.Name.Name + " "
	text := syntax.Doc.Text()
	switch {
	case syntax.Doc == nil:
		t.Errorf("%s/doc.go has no package comment", pkg)
	case !strings.HasPrefix(text, start) && syntax.Name.Name != "main":
		t.Errorf("%s/doc.go: the package comment does not start with %q", pkg, start)
	case len(text) < 80:
		t.Errorf("%s/doc.go: the package comment says too little: %q", pkg, text)
	}
}

// TestNoTestSkips holds that a test which cannot run fails: one that skips
// itself proves nothing and looks as if it did.
func TestNoTestSkips(t *testing.T) {
	for _, f := range readTree(t) {
		if !f.test || strings.HasPrefix(f.pkg, "build/layout") {
			continue
		}
		source, err := os.ReadFile(root + "/" + f.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{"Skip", "Skipf", "SkipNow"} {
			if strings.Contains(string(source), "t."+call+"(") {
				t.Errorf("%s calls %s: let it fail and say what is missing", f.path, call)
			}
		}
	}
}

// TestOneKeyForAnError holds that a log line has its error under "error": whoever
// looks for failures looks for one key.
func TestOneKeyForAnError(t *testing.T) {
	for _, f := range readTree(t) {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Value == `"err"` && f.pkg != "build/layout" {
				t.Errorf(`%s: the key of an error in the log is "error"`, f.path)
			}
			return true
		})
	}
}

// TestStateIsReadWithPatience holds that rooms that keep something on disk read it by
// durable.ReadFile: a disk that is busy for a moment must not look like one that has
// lost it.
func TestStateIsReadWithPatience(t *testing.T) {
	keepers := []string{"store", "agent/identity", "agent/update", "uplink/central/identity", "uplink/central/audit", "agent/intake/broker"}
	for _, f := range readTree(t) {
		keeps := slices.ContainsFunc(keepers, func(k string) bool { return f.pkg == k || strings.HasPrefix(f.pkg, k+"/") })
		if f.test || !keeps || strings.HasSuffix(f.pkg, "test") {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "ReadFile" {
				if from, ok := s.X.(*ast.Ident); ok && from.Name == "os" {
					t.Errorf("%s reads by os.ReadFile: durable.ReadFile asks a busy disk again", f.path)
				}
			}
			return true
		})
	}
}
