package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// smallTree has one of each kind of command; what runs says so on out.
func smallTree(a IO) *Command {
	say := func(c *Command, more func() string) *Command {
		c.Run = func(_ context.Context, args []string) error {
			_, err := fmt.Fprintf(a.Out, "%s %q%s\n", c.name(), args, more())
			return err
		}
		return c
	}
	nothing := func() string { return "" }
	var file string
	var all bool
	get := say(&Command{Use: "get ID", Short: "Get one", Args: Exactly(1, "one ID")},
		func() string { return fmt.Sprintf(" %s %t", file, all) })
	get.Flags().StringVarP(&file, "config", "c", "none", "the `FILE`")
	get.Flags().BoolVar(&all, "all", false, "all of it")
	box := &Command{Use: "box", Short: "Work on boxes"}
	box.Add(get, say(&Command{Use: "empty", Short: "Empty it", Args: NoArgs}, nothing))
	root := &Command{Use: "tree", Short: "A tree"}
	root.Add(say(&Command{Use: "any", Short: "Takes anything"}, nothing), box,
		say(&Command{Use: "gone", Hidden: true, Raw: true}, nothing), a.HelpCommand(root))
	return root
}

func TestCommands(t *testing.T) {
	for _, c := range []struct{ line, out, wrong, at string }{
		{"box get 7", `get ["7"] none false`, "", "tree box get"},
		{"box get 7 --all -c x", `get ["7"] x true`, "", "tree box get"},
		{"-c x box --all get 7", `get ["7"] x true`, "", "tree box get"},
		{"--config=x box get 7", `get ["7"] x false`, "", "tree box get"},
		{"--config box box get 7", `get ["7"] box false`, "", "tree box get"},
		{"box get -- --all", `get ["--all"] none false`, "", "tree box get"},
		{"any box -", `any ["box" "-"]`, "", "tree any"},
		{"gone --help -x", `gone ["--help" "-x"]`, "", "tree gone"},
		{"", "", "a command is missing", "tree"},
		{"box", "", "box needs get or empty", "tree box"},
		{"-- box", "", `unknown command "box"; did you mean box?`, "tree"},
		{"bix", "", `unknown command "bix"; did you mean box?`, "tree"},
		{"box g", "", `unknown command "g"; did you mean get?`, "tree box"},
		{"box emtpy", "", `unknown command "emtpy"; did you mean empty?`, "tree box"},
		{"gonee", "", `unknown command "gonee"`, "tree"},
		{"box get", "", "get needs one ID", "tree box get"},
		{"box empty 1", "", `empty takes no arguments, got ["1"]`, "tree box empty"},
		{"box get 7 --al", "", "unknown flag: --al", "tree box get"},
		{"box get 7 -c", "", "flag needs an argument: 'c' in -c", "tree box get"},
		{"--all", "", "unknown flag: --all", "tree"},
		{"help box gett", "", `unknown command "gett"; did you mean get?`, "tree help"},
	} {
		t.Run(c.line, func(t *testing.T) {
			var out bytes.Buffer
			a := IO{Out: &out}
			cmd, err := a.execute(t.Context(), smallTree(a), strings.Fields(c.line))
			var usage UsageError
			switch {
			case c.wrong == "" && err != nil:
				t.Fatal(err)
			case c.wrong != "" && (!errors.As(err, &usage) || err.Error() != c.wrong):
				t.Fatalf("error %v, want wrong usage: %s", err, c.wrong)
			}
			if got := strings.TrimSpace(out.String()); got != c.out {
				t.Errorf("printed %s, want %s", got, c.out)
			}
			if cmd.path() != c.at {
				t.Errorf("ran %s, want %s", cmd.path(), c.at)
			}
		})
	}
}

// Every way to ask for help gives the same text, and nothing runs.
func TestHelp(t *testing.T) {
	const root = "A tree\n\nUsage:\n  tree COMMAND\n\nCommands:\n  any   Takes anything\n  box   Work on boxes\n" +
		"  help  Help about any command\n\nFlags:\n  -h, --help   help for tree\n\nUse \"tree COMMAND --help\" for more about a command.\n"
	const get = "Get one\n\nUsage:\n  tree box get ID [flags]\n\nFlags:\n      --all           all of it\n" +
		"  -c, --config FILE   the FILE (default \"none\")\n  -h, --help          help for get\n"
	for line, want := range map[string]string{
		"help": root, "--help": root, "-h": root,
		"help box get": get, "box get --help": get, "-h box get": get, "box get 1 2 -h": get,
	} {
		var out bytes.Buffer
		a := IO{Out: &out}
		if _, err := a.execute(t.Context(), smallTree(a), strings.Fields(line)); err != nil || out.String() != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", line, err, out.String(), want)
		}
	}
}

// TestLang: --lang stands anywhere, goes before the locale, and is nobody's argument.
func TestLang(t *testing.T) {
	for line, want := range map[string]string{
		"status": "true status", "--lang en status": "false status", "status --lang=zh -c x": "true status -c x", "--lang": "error",
		"status --lang fr": "error", "status --lang=": "error", "trace -- --lang": "true trace -- --lang", "status --language en": "true status --language en",
	} {
		s, rest, err := IO{Env: []string{"LC_ALL=zh_CN.UTF-8"}}.speak(strings.Fields(line))
		got := fmt.Sprint(s.Chinese(), " ", strings.Join(rest, " "))
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}
