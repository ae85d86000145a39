package layout

import (
	"bytes"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the top of the tree, seen from this package's folder.
const root = "../.."

// module is the path that go.mod declares.
const module = "scanrelay"

// file is one Go file, as far as the layout cares.
type file struct {
	path    string // from the top of the tree
	pkg     string // its folder, from the top of the tree
	test    bool
	lines   int
	imports []string // module-internal ones without the module path and slash
	syntax  *ast.File
	when    constraint.Expr // its build constraint; nil if none
}

// readTree parses every Go file itself: a test that asked the go command would
// be served from the cache and see nothing.
func readTree(t *testing.T) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipFolder(path, d.Name())
		}
		if strings.HasSuffix(path, ".go") {
			files = append(files, readFile(t, path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("found %d Go files under %s: is this the top of the tree?", len(files), root)
	}
	return files
}

// skipFolder leaves out what the go command leaves out, modules within the
// module, and what was built.
func skipFolder(path, name string) error {
	if path == root {
		return nil
	}
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	if name == "cache" && filepath.Base(filepath.Dir(path)) == "build" {
		return filepath.SkipDir
	}
	return nil
}

func readFile(t *testing.T, path string) file {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), path, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		t.Fatal(err)
	}
	f := file{
		path: filepath.ToSlash(rel), pkg: filepath.ToSlash(filepath.Dir(rel)),
		test: strings.HasSuffix(path, "_test.go"), lines: bytes.Count(source, []byte("\n")),
		syntax: syntax, when: buildLine(t, syntax),
	}
	for _, spec := range syntax.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		f.imports = append(f.imports, strings.TrimPrefix(name, module+"/"))
	}
	return f
}

// buildLine returns the file's //go:build expression, nil if it has none.
func buildLine(t *testing.T, syntax *ast.File) constraint.Expr {
	t.Helper()
	for _, group := range syntax.Comments {
		for _, c := range group.List {
			if c.Pos() > syntax.Package || !constraint.IsGoBuild(c.Text) {
				continue
			}
			expr, err := constraint.Parse(c.Text)
			if err != nil {
				t.Fatal(err)
			}
			return expr
		}
	}
	return nil
}

// internal reports whether an import, shortened by readFile, is of this module.
func internal(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return slices.Contains([]string{"agent", "store", "uplink", "wechat", "configs", "build"}, top)
}

// external reports whether an import is neither ours nor the standard
// library's.
func external(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return strings.Contains(top, ".")
}

// packages returns the folders that hold Go files, sorted.
func packages(files []file) []string {
	var all []string
	for _, f := range files {
		all = append(all, f.pkg)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
