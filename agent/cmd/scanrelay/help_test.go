package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"scanrelay/agent/cmd/cli"
)

var han = regexp.MustCompile(`\p{Han}`)

// TestHelpIsChinese: whoever adds a command or a flag says in Chinese, too, what it is for
// (agent/cmd/chinese); what depots install has the words of its commands.
func TestHelpIsChinese(t *testing.T) {
	file, err := os.ReadFile("../chinese/help.txt")
	if err != nil {
		t.Fatal(err)
	}
	gateway := strings.ReplaceAll(strings.ReplaceAll(string(file), "`", ""), `\n`, "\n")
	full := []string{"central", "depot", "rollout", "demo", "release"}
	lines := 0
	var look func(path []string)
	look = func(path []string) {
		var out bytes.Buffer
		a := newApp(cli.IO{Out: &out, Env: []string{"LANG=zh_CN.UTF-8"}})
		if code := a.Run(t.Context(), a.root(), append(slices.Clone(path), "--help")); code != 0 {
			t.Fatalf("%v: exit code %d", path, code)
		}
		about, rest, _ := strings.Cut(out.String(), "\n\n用法:\n")
		about, _, _ = strings.Cut(about, "\n")
		texts := []string{about}
		for line := range strings.Lines(rest) {
			line, _, _ := strings.Cut(strings.TrimRight(line, "\n"), " (默认 ")
			name, text, ok := strings.Cut(strings.TrimSpace(line), "  ")
			if !ok {
				continue
			}
			texts = append(texts, strings.TrimSpace(text))
			if !strings.HasPrefix(name, "-") {
				look(append(slices.Clone(path), name))
			}
		}
		for _, text := range texts {
			lines++
			shared := len(path) > 0 && !slices.Contains(full, path[0]) && !strings.HasSuffix(text, "的帮助")
			if !han.MatchString(text) || shared && !strings.Contains(gateway, text) {
				t.Errorf("%v: chinese/help.txt lacks %q", path, text)
			}
		}
	}
	look(nil)
	if lines < 150 {
		t.Errorf("%d texts: the test looks past them", lines)
	}
}
