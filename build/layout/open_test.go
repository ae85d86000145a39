package layout

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// TestFilesWaitForDescriptors holds that what opens files of a store does so by
// store/durable, which waits where the process has no descriptor left: an error there
// would end the outbox, or let a file pass for damaged or gone.
func TestFilesWaitForDescriptors(t *testing.T) {
	rooms := []string{"store", "uplink/central", "agent/identity", "agent/update/record", "agent/update/launch", "agent/update/install"}
	opens := []string{"os.Open", "os.OpenFile", "os.Create", "os.ReadDir", "os.WriteFile", "filepath.Glob", "filepath.WalkDir"}
	for _, f := range readTree(t) {
		in := slices.ContainsFunc(rooms, func(room string) bool { return f.pkg == room || strings.HasPrefix(f.pkg, room+"/") })
		if !in || f.test || f.pkg == "store/durable" || strings.HasSuffix(f.pkg, "test") {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if s, ok := call.Fun.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && slices.Contains(opens, x.Name+"."+s.Sel.Name) {
						t.Errorf("%s calls %s.%s: durable's waits for a descriptor", f.path, x.Name, s.Sel.Name)
					}
				}
			}
			return true
		})
	}
}
