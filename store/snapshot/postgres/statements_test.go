package postgres

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	verb  = regexp.MustCompile(`(?i)^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|TRUNCATE|LOCK|COPY|WITH|BEGIN|COMMIT|SET)\s`)
	byKey = regexp.MustCompile(`^SELECT [\w, ]+ FROM (\w+) WHERE (\w+) = (ANY\(\$1\)|\$1)( AND epoch = \$2 AND seq (BETWEEN \$3 AND \$4|= ANY\(\$3\)))?$`)
	// What is of one key, or of keys that are given.
	ofKey   = regexp.MustCompile(`(?s)^(?:SELECT count\(\*\) FROM \(SELECT FROM|SELECT [\w, ]+ FROM|UPDATE|DELETE FROM) (\w+) (?:SET [^;]*?|USING unnest\([^;]*?)?\s?WHERE (?:\w+\.)?(\w+) = (?:\$1|ANY\(\$1\)|come\.)\b`)
	upsert  = regexp.MustCompile(`(?s)^INSERT INTO (\w+) \((\w+).*\sFROM unnest\(.*\nON CONFLICT \(([\w, ]+)\) DO UPDATE SET `)
	inOrder = regexp.MustCompile(`ORDER BY ([\w, ]+)\nON CONFLICT \(([\w, ]+)\)`)
)

// keys are what the tables are distributed by.
var keys = map[string]string{"waybill": "waybill_id", "answer": "depot", "depot": "depot", "binding": "phone", "document": "name", "presence": "depot", "waiting": "depot", "awaited": "waybill_id"}

// TestStatements reads all statements. Those in use all the time touch rows by the
// column that their table is distributed by, and write in its order; and no
// statement stands anywhere else.
func TestStatements(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	hot := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		group := 0
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
				group++
			}
			ast.Inspect(d, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case !verb.MatchString(text) || name == "schema.go":
				case name != "statements.go":
					t.Errorf("%s holds a statement: it belongs into statements.go: %s", name, text)
				case group == 1:
					hot++
					checkHot(t, text)
				}
				return true
			})
		}
	}
	if hot < 10 {
		t.Errorf("%d statements were found", hot)
	}
}

func checkHot(t *testing.T, text string) {
	t.Helper()
	m := byKey.FindStringSubmatch(text)
	if m == nil {
		m = ofKey.FindStringSubmatch(text)
	}
	if m == nil {
		m = upsert.FindStringSubmatch(text)
		if o := inOrder.FindStringSubmatch(text); o == nil || o[1] != o[2] {
			t.Errorf("does not write in the order of the key: %s", text)
		}
	}
	if m == nil || keys[m[1]] != m[2] {
		t.Errorf("does not name the rows by what the table is distributed by: %s", text)
	}
}

// TestPrimaryKeys: the key of every table that grows begins with what it is
// distributed by, and it has no other constraint that would span the parts.
func TestPrimaryKeys(t *testing.T) {
	table := regexp.MustCompile(`CREATE TABLE (\w+) \((.*)\)`)
	found := 0
	for _, step := range steps {
		for _, statement := range step {
			m := table.FindStringSubmatch(statement)
			if m == nil || keys[m[1]] == "" {
				continue
			}
			found++
			if key := keys[m[1]]; !regexp.MustCompile(`^` + key + ` \w+( COLLATE "C")? PRIMARY KEY|PRIMARY KEY \(` + key + `\b`).MatchString(m[2]) {
				t.Errorf("the primary key of %s does not begin with %s: %s", m[1], key, statement)
			}
			if strings.Contains(statement, "UNIQUE") || strings.Contains(statement, "REFERENCES") || strings.Contains(statement, "serial") {
				t.Errorf("spans the parts of a distributed table: %s", statement)
			}
		}
	}
	if found != len(keys) {
		t.Errorf("%d tables found, want %d", found, len(keys))
	}
}
