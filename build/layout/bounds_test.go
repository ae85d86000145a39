package layout

import (
	"bytes"
	"os"
	"testing"
)

// The bounds of a room: what somebody new to it reads in an hour. Tests are not
// counted: a promise may need many.
const (
	maxFiles  = 25
	maxLines  = 3500 // of code, comments and blank lines
	maxDoc    = 40   // lines of doc.go
	maxReadme = 200  // lines of the README at the top
)

// TestRoomsAreSmall asks for another room where one has grown too large.
func TestRoomsAreSmall(t *testing.T) {
	files := readTree(t)
	for _, pkg := range packages(files) {
		count, lines := 0, 0
		for _, f := range files {
			if f.pkg == pkg && !f.test {
				count++
				lines += f.lines
			}
		}
		if count > maxFiles {
			t.Errorf("%s has %d files beside its tests, at most %d may be", pkg, count, maxFiles)
		}
		if lines > maxLines {
			t.Errorf("%s has %d lines beside its tests, at most %d may be", pkg, lines, maxLines)
		}
	}
}

// TestDoorsAreShort holds that doc.go is read to its end. What is longer goes into
// the README of the folder.
func TestDoorsAreShort(t *testing.T) {
	for _, f := range readTree(t) {
		if f.path == f.pkg+"/doc.go" && f.lines > maxDoc {
			t.Errorf("%s has %d lines, at most %d may be: what is longer belongs into the folder's README.md", f.path, f.lines, maxDoc)
		}
	}
	text, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > maxReadme {
		t.Errorf("README.md has %d lines, at most %d may be: the rest belongs into the rooms' own", n, maxReadme)
	}
}
