package layout

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	cited   = regexp.MustCompile(`[\w./-]+\.md\b`)
	outside = regexp.MustCompile(`\.\./shared\b|\bspec/\w+`)
)

// TestWhatIsCitedIsHere holds that whoever has the repository can look up every
// document that a source, script, example or page names, seen from there or from the
// top. Their sections are TestCitedSectionsExist's. This file holds patterns.
func TestWhatIsCitedIsHere(t *testing.T) {
	kinds := []string{".go", ".md", ".sh", ".yaml", ".conf", ".service", ".html", ".js", ".css", ".txt"}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		switch {
		case d.IsDir() && path != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"bin", "dist", "cache"}, name)):
			return filepath.SkipDir
		case d.IsDir() || name == "words_test.go" || name != "Makefile" && !slices.Contains(kinds, filepath.Ext(name)):
			return nil
		}
		body, err := os.ReadFile(path)
		for _, way := range outside.FindAllString(string(body), -1) {
			t.Errorf("%s cites %s: say it there, or in a README of the tree", path, way)
		}
		for _, document := range cited.FindAllString(string(body), -1) {
			if !exists(filepath.Join(filepath.Dir(path), document)) && !exists(filepath.Join(root, document)) {
				t.Errorf("%s cites %s, which is not in the tree", path, document)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
