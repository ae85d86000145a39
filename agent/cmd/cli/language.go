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

// speak takes --lang out of args, where it may stand anywhere, and returns what it says:
// it goes before the locale.
func (s IO) speak(args []string) (IO, []string, error) {
	for i, arg := range args {
		value, given := strings.CutPrefix(arg, "--lang=")
		end := i + 1
		switch {
		case arg == "--":
			return s, args, nil
		case arg == "--lang" && end < len(args):
			value, given, end = args[end], true, end+1
		case arg == "--lang":
			given = true
		}
		if !given {
			continue
		}
		if value != "en" && value != "zh" {
			return s, args, Usagef("--lang must be en or zh, not %q", value)
		}
		s.Env = append([]string{"LC_ALL=" + value}, s.Env...)
		return s, append(args[:i:i], args[end:]...), nil
	}
	return s, args, nil
}

// Say is a text in the language of the locale.
func (s IO) Say(english, chinese string) string {
	if s.Chinese() {
		return chinese
	}
	return english
}
