package cli

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// shells are those that CompletionCommand knows.
var shells = map[string]func(root *Command) string{"bash": bash, "zsh": zsh, "fish": fish}

// CompletionCommand is "completion SHELL": a script by which that shell completes
// the commands and flags of root. It names what there is when it is made, so that
// completing starts no program.
func (s IO) CompletionCommand(root *Command) *Command {
	return &Command{
		Use:   "completion SHELL",
		Short: "Print a script that completes commands in bash, zsh or fish",
		Long: "Print a script that completes commands in bash, zsh or fish. The packages install it. By hand:\n\n" +
			"  " + root.name() + " completion bash > /etc/bash_completion.d/" + root.name() + "\n" +
			"  " + root.name() + " completion zsh > \"${fpath[1]}/_" + root.name() + "\"\n" +
			"  " + root.name() + " completion fish > ~/.config/fish/completions/" + root.name() + ".fish",
		Args: Exactly(1, "one of bash, zsh, fish"),
		Run: func(_ context.Context, args []string) error {
			script := shells[args[0]]
			if script == nil {
				return Usagef("completion knows bash, zsh and fish, got %q", args[0])
			}
			_, err := io.WriteString(s.Out, script(root))
			return err
		},
	}
}

// visible gives c and what is below it, but what no list shows.
func (c *Command) visible() iter.Seq[*Command] {
	return func(yield func(*Command) bool) { c.walk(yield) }
}

func (c *Command) walk(yield func(*Command) bool) bool {
	if !yield(c) {
		return false
	}
	for _, s := range c.shown() {
		if !s.walk(yield) {
			return false
		}
	}
	return true
}

// shown are the commands of a group that lists name, in their order.
func (c *Command) shown() []*Command {
	shown := slices.DeleteFunc(slices.Clone(c.subs), func(s *Command) bool { return s.Hidden })
	slices.SortFunc(shown, func(a, b *Command) int { return strings.Compare(a.name(), b.name()) })
	return shown
}

// flags gives the flags that are not hidden, by name.
func (c *Command) flags() (all []*pflag.Flag) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			all = append(all, f)
		}
	})
	return all
}

// spellings are how a flag is typed.
func spellings(f *pflag.Flag) []string {
	if f.Shorthand == "" {
		return []string{"--" + f.Name}
	}
	return []string{"-" + f.Shorthand, "--" + f.Name}
}

// usage of a flag in one line, without the marks around its value's name.
func usage(f *pflag.Flag) string {
	_, text := pflag.UnquoteUsage(f)
	return text
}

// below is the path without the program's own name: "/store/check".
func (c *Command) below() string {
	_, rest, _ := strings.Cut(c.path(), " ")
	if rest == "" {
		return ""
	}
	return "/" + strings.ReplaceAll(rest, " ", "/")
}

// walkWords is how a script finds the command in the words before the one that is
// completed: a case over all paths.
func walkWords(root *Command) string {
	var paths []string
	for c := range root.visible() {
		if c.parent != nil {
			paths = append(paths, c.below())
		}
	}
	return strings.Join(paths, "|")
}

func bash(root *Command) string {
	var b strings.Builder
	fn := "_" + root.name()
	fmt.Fprintf(&b, `# bash completion of %[1]s; made by: %[1]s completion bash
%[2]s() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path= subs= flags= values= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path/${COMP_WORDS[i]}" in
      %[3]s) path+=/${COMP_WORDS[i]} ;;
    esac
  done
  case $path in
`, root.name(), fn, walkWords(root))
	for c := range root.visible() {
		var subs, flags, values []string
		for _, s := range c.shown() {
			subs = append(subs, s.name())
		}
		for _, f := range c.flags() {
			flags = append(flags, spellings(f)...)
			if f.NoOptDefVal == "" {
				values = append(values, spellings(f)...)
			}
		}
		fmt.Fprintf(&b, "    '%s') subs='%s' flags='%s' values='%s' ;;\n", c.below(), strings.Join(subs, " "), strings.Join(flags, " "), strings.Join(values, " "))
	}
	fmt.Fprintf(&b, `  esac
  COMPREPLY=()
  [[ " $values " == *" $prev "* ]] && return # a value, as a file's name
  case $cur in
    -*) mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$subs" -- "$cur") ;;
  esac
}
complete -o default -F %s %s
`, fn, root.name())
	return b.String()
}

func zsh(root *Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, `#compdef %[1]s
# zsh completion of %[1]s; made by: %[1]s completion zsh
_%[1]s() {
  local at= word
  local -a subs flags
  for word in ${words[2,CURRENT-1]}; do
    case "$at/$word" in
      (%[2]s) at+=/$word ;;
    esac
  done
  case $at in
`, root.name(), walkWords(root))
	quote := func(name, text string) string {
		text = strings.NewReplacer("'", `'\''`, ":", `\:`).Replace(text)
		return "'" + name + ":" + text + "'"
	}
	for c := range root.visible() {
		var subs, flags []string
		for _, s := range c.shown() {
			subs = append(subs, quote(s.name(), s.Short))
		}
		for _, f := range c.flags() {
			for _, name := range spellings(f) {
				flags = append(flags, quote(name, usage(f)))
			}
		}
		fmt.Fprintf(&b, "    ('%s') subs=(%s) flags=(%s) ;;\n", c.below(), strings.Join(subs, " "), strings.Join(flags, " "))
	}
	fmt.Fprintf(&b, `  esac
  if [[ $words[CURRENT] == -* ]]; then
    _describe -o flag flags
  elif (( $#subs )); then
    _describe command subs
  else
    _files
  fi
}
if [[ $funcstack[1] == _%[1]s ]]; then
  _%[1]s "$@"
else
  compdef _%[1]s %[1]s
fi
`, root.name())
	return b.String()
}

func fish(root *Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# fish completion of %[1]s; made by: %[1]s completion fish
function __%[1]s_at
    set -l at ''
    for word in (commandline -opc)[2..-1]
        switch "$at/$word"
            case %[2]s
                set at "$at/$word"
        end
    end
    test "$at" = "$argv[1]"
end
`, root.name(), "'"+strings.ReplaceAll(walkWords(root), "|", "' '")+"'")
	quote := func(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'" }
	for c := range root.visible() {
		at := fmt.Sprintf("complete -c %s -n %s", root.name(), quote("__"+root.name()+"_at "+quote(c.below())))
		for _, s := range c.shown() {
			fmt.Fprintf(&b, "%s -f -a %s -d %s\n", at, s.name(), quote(s.Short))
		}
		for _, f := range c.flags() {
			fmt.Fprintf(&b, "%s -l %s", at, f.Name)
			if f.Shorthand != "" {
				fmt.Fprintf(&b, " -s %s", f.Shorthand)
			}
			if f.NoOptDefVal == "" {
				b.WriteString(" -r")
			}
			fmt.Fprintf(&b, " -d %s\n", quote(usage(f)))
		}
	}
	return b.String()
}
