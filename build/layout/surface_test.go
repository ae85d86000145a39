package layout

import (
	"go/ast"
	"slices"
	"testing"
)

// maxSurface is how many declarations and methods a package may export: a screen.
const maxSurface = 60

// TestSurfaceFitsOnAScreen counts what each package exports. A group of constants
// or variables counts as one: it stands on the page as one.
func TestSurfaceFitsOnAScreen(t *testing.T) {
	files := readTree(t)
	for _, pkg := range packages(files) {
		n := 0
		for _, f := range files {
			if f.pkg == pkg && !f.test && f.syntax.Name.Name != "main" {
				n += exported(f.syntax)
			}
		}
		if n > maxSurface {
			t.Errorf("%s exports %d names and methods, at most %d may be", pkg, n, maxSurface)
		}
	}
}

// exported counts what a file adds to the surface of its package.
func exported(syntax *ast.File) (n int) {
	for _, d := range syntax.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(typeName(d.Recv.List[0].Type))) {
				n++
			}
		case *ast.GenDecl:
			n += exportedIn(d)
		}
	}
	return n
}

// exportedIn counts the types of a declaration, or its values as one.
func exportedIn(d *ast.GenDecl) (types int) {
	values := 0
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() {
				types++
			}
		case *ast.ValueSpec:
			if slices.ContainsFunc(spec.Names, (*ast.Ident).IsExported) {
				values = 1
			}
		}
	}
	return types + values
}

// typeName is the name of a receiver's type, whatever stands around it.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
