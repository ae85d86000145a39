package chinese

import (
	"cmp"
	_ "embed"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"sync"

	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
)

//go:embed reasons.txt
var reasons string

// help and helpFull are what --help says: of all builds, and of the full one alone.
//
//go:embed help.txt
var help string

// helps are what --help says, whole; "\n" breaks a line of the Chinese.
var helps = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	for _, file := range []string{help, helpFull} {
		for english, chinese := range pairs(file) {
			all[english] = strings.ReplaceAll(chinese, `\n`, "\n")
		}
	}
	return all
})

// pairs are those of a file: two lines each, an empty one between them.
func pairs(file string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for pair := range strings.SplitSeq(strings.TrimSpace(file), "\n\n") {
			if english, chinese, _ := strings.Cut(pair, "\n"); !yield(english, chinese) {
				return
			}
		}
	}
}

// format is a pair of reasons.txt.
type format struct {
	english, chinese string
	needs            string // the longest text in which every use of it is the same
	weight           int    // how much of such text there is: who has more goes first
	match            func() *regexp.Regexp
}

var verb = regexp.MustCompile(`%(?:\.\d+)?(?:\[(\d)\])?([sdqvw])`)

// formats are all of reasons.txt, those that say most first.
var formats = sync.OnceValue(func() (all []*format) {
	for english, chinese := range pairs(reasons) {
		all = append(all, newFormat(english, chinese))
	}
	slices.SortStableFunc(all, func(a, b *format) int { return cmp.Compare(b.weight, a.weight) })
	return all
})

func newFormat(english, chinese string) *format {
	f := &format{english: english, chinese: strings.ReplaceAll(chinese, "%d", "%s")} // which gets texts
	pattern, last := "(?s)^", 0
	add := func(text string) {
		pattern += regexp.QuoteMeta(text)
		if f.weight += len(text); len(text) > len(f.needs) {
			f.needs = text
		}
	}
	for _, at := range verb.FindAllStringSubmatchIndex(english, -1) {
		add(english[last:at[0]])
		switch last = at[1]; english[at[4]:at[5]] {
		case "d":
			pattern += `(-?\d+)`
		case "q":
			pattern += `("(?:[^"\\]|\\.)*")`
		default:
			pattern += `(.+?)`
		}
	}
	add(english[last:])
	f.match = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern + "$") })
	return f
}

// Bounds of what is looked at: a reason may quote what others sent.
const (
	deep = 8       // how often what stands in a text is a text in turn
	long = 4 << 10 // bytes
)

// Of is a text of ours in Chinese, as far as it is known.
func Of(english string) string {
	if chinese, known := helps()[english]; known {
		return chinese
	}
	return of(english, deep)
}

func of(english string, left int) string {
	if left == 0 || len(english) > long {
		return english
	}
	for _, f := range formats() {
		if !strings.Contains(english, f.needs) {
			continue
		}
		found := f.match().FindStringSubmatch(english)
		if found == nil {
			continue
		}
		args := make([]any, len(found)-1)
		for i, arg := range found[1:] {
			args[i] = of(arg, left-1)
		}
		return fmt.Sprintf(f.chinese, args...)
	}
	for _, sep := range []string{"; ", ": "} { // what was joined of several
		if head, tail, ok := strings.Cut(english, sep); ok {
			return of(head, left-1) + sep + of(tail, left-1)
		}
	}
	return english
}

// Reason is a text of ours in the language of the locale.
func Reason(world cli.IO, english string) string {
	if !world.Chinese() {
		return english
	}
	return Of(english)
}

// Problem is a line for a problem of a configuration, in the language of the locale.
func Problem(world cli.IO, p configs.Problem) string {
	if !world.Chinese() {
		return p.String()
	}
	text := Of(p.Text)
	if p.Warning {
		text = "警告:" + text
	}
	p.Text, p.Warning = text, false
	return p.String()
}
