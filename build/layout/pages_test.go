package layout

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// houseRow is a row of the house: what its packages use together, leaves left out.
type houseRow struct{ rooms, uses []string }

// TestReadmeDrawsTheHouse holds the table of rooms in the top README against
// the imports: every package of the program has a row, and each row names what
// its packages use, but for the leaves. Rows that say "everything" are free to.
func TestReadmeDrawsTheHouse(t *testing.T) {
	files := readTree(t)
	all := packages(files)
	var drawn, leaves []string
	house := readHouse(t, all)
	for _, r := range house {
		drawn = append(drawn, r.rooms...)
		if len(r.uses) == 1 && r.uses[0] == "leaf" {
			leaves = append(leaves, r.rooms...)
		}
	}
	for _, pkg := range all {
		support := strings.HasPrefix(pkg, "build/") || strings.HasSuffix(pkg, "test") || strings.Contains(pkg, "/internal/")
		if !slices.Contains(drawn, pkg) && !support {
			t.Errorf("the top README's house has no row for %s", pkg)
		}
	}
	for _, r := range house {
		if slices.Contains(r.uses, "everything") {
			continue
		}
		used := usedBy(files, r.rooms)
		used = slices.DeleteFunc(used, func(name string) bool { return slices.Contains(leaves, name) || slices.Contains(r.rooms, name) })
		want := slices.DeleteFunc(slices.Clone(r.uses), func(name string) bool { return name == "leaf" || name == "none" })
		slices.Sort(want)
		if !slices.Equal(used, want) {
			t.Errorf("the top README says that %v use %v, the code uses %v", r.rooms, want, used)
		}
	}
}

// usedBy returns what the packages' code imports of this module, sorted.
func usedBy(files []file, rooms []string) (names []string) {
	for _, f := range files {
		if slices.Contains(rooms, f.pkg) && !f.test {
			names = append(names, slices.DeleteFunc(slices.Clone(f.imports), func(name string) bool { return !internal(name) })...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

var houseLine = regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|[^|]*\\| ([^|]*) \\|$")

// readHouse reads the rows of the table.
func readHouse(t *testing.T, all []string) (house []houseRow) {
	t.Helper()
	readme, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "\n## The house\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for _, line := range houseLine.FindAllStringSubmatch(text, -1) {
		var r houseRow
		for _, name := range quoted(line[1]) {
			r.rooms = append(r.rooms, find(t, name, all))
		}
		for _, name := range quoted(line[2]) {
			r.uses = append(r.uses, find(t, name, all))
		}
		if len(r.uses) == 0 {
			r.uses = []string{line[2]}
		}
		house = append(house, r)
	}
	return house
}

// TestPromisesNameWhatThereIs: who is given one sentence of a promise finds in
// the top README the file that keeps it.
func TestPromisesNameWhatThereIs(t *testing.T) {
	readme, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| \*\*.*\| ([^|]*) \|$`).FindAllStringSubmatch(string(readme), -1)
	if len(rows) < 10 {
		t.Errorf("the top README has %d promises", len(rows))
	}
	for _, row := range rows {
		for _, name := range quoted(row[1]) {
			if _, err := os.Stat(root + "/" + name); err != nil {
				t.Errorf("the top README says that %s keeps a promise: %v", name, err)
			}
		}
	}
}

// quoted returns what stands in backquotes.
func quoted(text string) (names []string) {
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// find returns the one package whose path is name or ends with it.
func find(t *testing.T, name string, all []string) string {
	t.Helper()
	var found []string
	for _, pkg := range all {
		if pkg == name {
			return pkg
		}
		if strings.HasSuffix(pkg, "/"+name) {
			found = append(found, pkg)
		}
	}
	if len(found) != 1 {
		t.Errorf("the top README names %s, which stands for %v", name, found)
		return name
	}
	return found[0]
}

// TestLinksLeadSomewhere follows every link within the tree, to the heading.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#: ]*)(?:#([^) ]+))?\)`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipFolder(path, d.Name())
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			to := path
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(path), m[1])
			}
			target, err := os.ReadFile(to)
			if info, statErr := os.Stat(to); statErr == nil && info.IsDir() {
				err = nil
			}
			if err != nil {
				t.Errorf("%s: %s leads nowhere", path, m[0])
			} else if m[2] != "" && !slices.Contains(headings(string(target)), m[2]) {
				t.Errorf("%s: %s has no heading %s", path, m[1], m[2])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// headings returns the anchors of a text's headings, as code hosts make them.
func headings(text string) (anchors []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return anchors
}
