package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// asked are words that a person typed, the last one unfinished, and what may follow.
var asked = []struct {
	line []string
	want []string
}{
	{[]string{"b"}, []string{"box"}},
	{[]string{"box", ""}, []string{"empty", "get"}},
	{[]string{"box", "g"}, []string{"get"}},
	{[]string{"box", "get", "--a"}, []string{"--all"}},
	{[]string{"box", "get", "7", "--co"}, []string{"--config"}},
	{[]string{"-h", "box", "e"}, []string{"empty"}},
	{[]string{"go"}, nil}, // hidden
}

// The scripts are tried in the shells that they are for.
func TestCompletion(t *testing.T) {
	for shell, complete := range map[string]func(script string, line []string) *exec.Cmd{
		"bash": func(script string, line []string) *exec.Cmd {
			return exec.Command("bash", append([]string{"-c", `. "$0"; COMP_WORDS=(tree "$@"); COMP_CWORD=$#; _tree; printf '%s\n' "${COMPREPLY[@]}"`, script}, line...)...)
		},
		"zsh": func(script string, line []string) *exec.Cmd {
			const run = `compdef() { }; _files() { }
				_describe() { local -a found; found=("${(@P)argv[-1]}"); for f in $found; do [[ ${f%%:*} == ${words[CURRENT]}* ]] && print -r -- ${f%%:*}; done }
				. "$0"; words=(tree "$@"); CURRENT=$(( $# + 1 )); _tree`
			return exec.Command("zsh", append([]string{"-fc", run, script}, line...)...)
		},
		"fish": func(script string, line []string) *exec.Cmd {
			return exec.Command("fish", "--no-config", "-c", `source $argv[1]; complete -C "$argv[2]" | string split -f1 \t`, script, "tree "+strings.Join(line, " "))
		},
	} {
		t.Run(shell, func(t *testing.T) {
			var out bytes.Buffer
			a := IO{Out: &out}
			root := smallTree(a)
			root.Add(a.CompletionCommand(root))
			if _, err := a.execute(t.Context(), root, []string{"completion", shell}); err != nil {
				t.Fatal(err)
			}
			script := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(script, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, row := range asked {
				cmd := complete(script, row.line)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				shown, err := cmd.Output()
				got := strings.Fields(string(shown))
				slices.Sort(got)
				if stderr.Len() > 0 || !slices.Equal(got, row.want) {
					t.Errorf("%q completes to %q, want %q (%v, %s)", row.line, got, row.want, err, stderr.String())
				}
			}
		})
	}
}

func TestCompletionOfAnotherShell(t *testing.T) {
	a := IO{Out: &bytes.Buffer{}}
	root := smallTree(a)
	root.Add(a.CompletionCommand(root))
	if _, err := a.execute(t.Context(), root, []string{"completion", "tcsh"}); err == nil || !strings.Contains(err.Error(), "bash, zsh and fish") {
		t.Errorf("error %v", err)
	}
}

// man finds nothing wrong with the page, and it names every command that lists name.
func TestManual(t *testing.T) {
	var out bytes.Buffer
	a := IO{Out: &out}
	root := smallTree(a)
	root.Long = "A tree\n\n  .with it's example\nand -more"
	root.Add(a.ManCommand(root, "1.2.3", time.Unix(0, 0)))
	if _, err := a.execute(t.Context(), root, []string{"man"}); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "tree.1")
	if err := os.WriteFile(page, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", "-P", "cat", page)
	cmd.Env = append(os.Environ(), "MANWIDTH=100", "LC_ALL=C.UTF-8", "MAN_KEEP_FORMATTING=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("man: %v\n%s", err, stderr.String())
	}
	for _, want := range []string{"tree 1.2.3", "1970-01-01", "box get ID", "-c, --config FILE", "(default none)", "  .with it's example", "and -more"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if bytes.Contains(text, []byte("gone")) {
		t.Error("the page names what is hidden")
	}
}
