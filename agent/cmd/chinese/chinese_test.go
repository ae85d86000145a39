package chinese

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
)

// folders are those whose texts reach people as reasons.
var folders = []string{
	"configs", "configs/nearest", "configs/textfile", "configs/tlsfile", "configs/wait", "agent/scan", "agent/intake/decode", "agent/intake/mapping",
	"agent/intake/sparkplug", "agent/intake/topic", "agent/intake/user", "uplink", "uplink/policy", "uplink/valve", "wechat", "uplink/sync", "uplink/syncapi", "agent/intake/link", "agent/intake/source",
	"agent/intake/probe", "agent/control", "agent/cmd/look", "agent/cmd/saved", "agent/cmd/cli", "agent/identity",
}

// speakers are the functions whose first text is such a format.
var speakers = []string{"fail", "warn", "bad", "problemf", "ignore", "Errorf", "New", "End", "badDuration", "blockLocked", "tripLocked", "Usagef"}

// notReasons are texts of these folders that reach nobody as a reason.
var notReasons = []string{"%d per %s", "%.1f MiB", "%d KiB", "class %s", " is no rate; write one as 10/m (per s, m or h)", "shown already", "enough is shown"}

// text is a literal, also one that is written in parts.
func text(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr: // what is not written there is put in
		a, ok := text(e.X)
		b, ok2 := text(e.Y)
		if !ok {
			a = "%s"
		}
		if !ok2 {
			b = "%s"
		}
		return a + b, (ok || ok2) && e.Op == token.ADD
	}
	return "", false
}

// said are the texts of a file: what speakers are given, what functions return, and the
// meanings of codes.
func said(t *testing.T, path string) (all []string) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	first := func(list []ast.Expr) {
		for _, e := range list {
			if call, ok := e.(*ast.CallExpr); ok && name(call) == "Sprintf" {
				e = call.Args[0]
			}
			if s, ok := text(e); ok && strings.Contains(s, " ") {
				all = append(all, s)
				return
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if slices.Contains(speakers, name(n)) {
				first(n.Args)
			}
			if finding := name(n) == "add" || name(n) == "check"; finding && filepath.Base(filepath.Dir(path)) == "probe" {
				for _, arg := range n.Args {
					first([]ast.Expr{arg})
				}
			}
		case *ast.AssignStmt:
			if to, ok := n.Lhs[0].(*ast.SelectorExpr); ok && slices.Contains([]string{"Reason", "Problem", "Text"}, to.Sel.Name) {
				first(n.Rhs)
			}
		case *ast.ReturnStmt:
			first(n.Results)
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Text" || ok && key.Name == "Reason" {
				first([]ast.Expr{n.Value})
			}
		case *ast.CompositeLit:
			if len(n.Elts) == 2 && filepath.Base(path) == "class.go" {
				first(n.Elts)
			}
		}
		return true
	})
	return all
}

func name(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

var letters = regexp.MustCompile(`[A-Za-z]{2}`)

// TestEveryReasonIsTranslated: whoever writes a new reason writes it in Chinese, too.
func TestEveryReasonIsTranslated(t *testing.T) {
	known, count := map[string]bool{}, 0
	for _, f := range formats() {
		known[normal(f.english)] = true
	}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join("../../..", folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(folder, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			for _, s := range said(t, path) {
				if !letters.MatchString(verb.ReplaceAllString(s, "")) || slices.Contains(notReasons, s) {
					continue
				}
				if count++; !known[normal(s)] {
					t.Errorf("%s: reasons.txt has no Chinese for\n%s", path, s)
				}
			}
		}
	}
	if count < 250 {
		t.Errorf("%d texts were found: the test looks past them", count)
	}
}

// normal is a format of which the kinds of its verbs do not count.
func normal(format string) string {
	return verb.ReplaceAllString(strings.ReplaceAll(format, "%%", "%"), "%s")
}

// TestPairs: each text that a format makes is known as that format's, with what was put
// into it in its place.
func TestPairs(t *testing.T) {
	blocks := strings.Split(strings.TrimSpace(reasons), "\n\n")
	blocks = append(blocks, strings.Split(strings.TrimSpace(help), "\n\n")...)
	blocks = append(blocks, strings.Split(strings.TrimSpace(helpFull), "\n\n")...)
	for _, b := range blocks {
		if strings.Count(b, "\n") != 1 {
			t.Fatalf("no pair:\n%s", b)
		}
	}
	seen := map[string]bool{}
	for _, f := range formats() {
		if seen[f.english] {
			t.Errorf("twice: %s", f.english)
		}
		seen[f.english] = true
		var in, out []any
		for i, v := range verb.FindAllStringSubmatch(f.english, -1) {
			switch v[2] {
			case "d":
				in, out = append(in, 7+i), append(out, strconv.Itoa(7+i))
			case "q":
				in, out = append(in, fmt.Sprint(`a "b`, i)), append(out, strconv.Quote(fmt.Sprint(`a "b`, i)))
			default:
				in, out = append(in, fmt.Sprint("X", i)), append(out, fmt.Sprint("X", i))
			}
		}
		english := fmt.Sprintf(strings.ReplaceAll(f.english, "%w", "%v"), in...)
		if want := fmt.Sprintf(f.chinese, out...); strings.Contains(want, "%!") {
			t.Errorf("%s: %s", f.english, want)
		} else if got := Of(english); got != want {
			t.Errorf("%s\n got %s\nwant %s", english, got, want)
		}
	}
}

func TestOf(t *testing.T) {
	for english, want := range map[string]string{
		"":              "",
		"李四 said so":    "李四 said so",
		"is required":   "必须填写",
		"odd: not JSON": "odd: 不是 JSON",
		"pathnotify: the account is frozen: look into WeChat's console (errcode 50007): odd: words":                                    "pathnotify:账号被冻结:到微信后台查看(errcode 50007):odd: words",
		"element 3: no action_type at /action_type: name it in fields of source 0 (scans/#), or name a station there that supplies it": "第 3 个元素:在 /action_type 没有 action_type:在 来源 0(scans/#) 的 fields 里指明它,或在那里指明一个能提供它的站点",
		`must be a duration as 30s, not a list`:                         "必须是 时长(如 30s),不能是 列表",
		"event_id is missing; action_msg is longer than 100 characters": "没有 event_id; action_msg 超过 100 个字符",
		"%s 50 %":                      "%s 50 %",
		strings.Repeat("a: ", 100_000): strings.Repeat("a: ", 100_000),
	} {
		if got := Of(english); got != want {
			t.Errorf("%.200s\n got %.200s\nwant %.200s", english, got, want)
		}
	}
}

// FuzzOf: what is shown of others' texts is never less than what they said, nor does it
// take long.
func FuzzOf(f *testing.F) {
	for _, pair := range formats() {
		f.Add(pair.english)
	}
	f.Add(strings.Repeat("no x at y: ", 2000))
	f.Fuzz(func(t *testing.T, text string) {
		if got := Of(text); strings.Contains(got, "%!") && !strings.Contains(text, "%!") {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// TestLanguage: English is what it was.
func TestLanguage(t *testing.T) {
	zh, en := cli.IO{Env: []string{"LC_ALL=zh_CN.UTF-8"}}, cli.IO{Env: []string{"LANG=C"}}
	p := configs.Problem{File: "a.yaml", Line: 3, Key: "depot.id", Text: "is required", Warning: true}
	if got := Problem(en, p); got != p.String() || Reason(en, p.Text) != p.Text {
		t.Error(got)
	}
	if got := Problem(zh, p); got != "a.yaml:3: depot.id: 警告:必须填写" || Reason(zh, p.Text) != "必须填写" {
		t.Error(got)
	}
}
