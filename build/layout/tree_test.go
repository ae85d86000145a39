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
	"strings"
	"sync"
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

// readTree returns every Go file.
func readTree(t *testing.T) []file {
	t.Helper()
	files, err := parsedTree()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("found %d Go files under %s: is this the top of the tree?", len(files), root)
	}
	return files
}

// parsedTree parses every Go file, once: a test that asked the go command instead
// would be served from the cache and see nothing.
var parsedTree = sync.OnceValues(func() (files []file, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipFolder(path, d.Name())
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := readFile(path)
		files = append(files, f)
		return err
	})
	return files, err
})

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

func readFile(path string) (file, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return file{}, err
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), path, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return file{}, err
	}
	f := file{
		path: filepath.ToSlash(rel), pkg: filepath.ToSlash(filepath.Dir(rel)),
		test: strings.HasSuffix(path, "_test.go"), lines: bytes.Count(source, []byte("\n")), syntax: syntax,
	}
	for _, spec := range syntax.Imports {
		f.imports = append(f.imports, strings.TrimPrefix(strings.Trim(spec.Path.Value, `"`), module+"/"))
	}
	f.when, err = buildLine(syntax)
	return f, err
}

// buildLine returns the file's //go:build expression, nil if it has none.
func buildLine(syntax *ast.File) (constraint.Expr, error) {
	for _, group := range syntax.Comments {
		for _, c := range group.List {
			if c.Pos() < syntax.Package && constraint.IsGoBuild(c.Text) {
				return constraint.Parse(c.Text)
			}
		}
	}
	return nil, nil
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
