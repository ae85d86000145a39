package cli

import "strings"

// Chinese reports whether the locale of messages is a Chinese one, as gettext finds it.
func (s IO) Chinese() bool {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		for _, e := range s.Env {
			if v, ok := strings.CutPrefix(e, name+"="); ok && v != "" {
				return strings.HasPrefix(v, "zh")
			}
		}
	}
	return false
}

// Say is a text in the language of the locale.
func (s IO) Say(english, chinese string) string {
	if s.Chinese() {
		return chinese
	}
	return english
}
