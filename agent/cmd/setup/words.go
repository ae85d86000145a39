package setup

import "strings"

const (
	english = iota
	chinese
)

// words is a text in both languages.
type words [2]string

func say(lang int, en, zh string) string { return words{en, zh}[lang] }

// language is the one of the locale's messages, as gettext finds it.
func language(env []string) int {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		for _, e := range env {
			if v, ok := strings.CutPrefix(e, name+"="); ok && v != "" {
				if strings.HasPrefix(v, "zh") {
					return chinese
				}
				return english
			}
		}
	}
	return english
}
