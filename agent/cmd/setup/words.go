package setup

import "scanrelay/agent/cmd/cli"

const (
	english = iota
	chinese
)

// words is a text in both languages.
type words [2]string

func say(lang int, en, zh string) string { return words{en, zh}[lang] }

// language is the locale's.
func language(world cli.IO) int {
	if world.Chinese() {
		return chinese
	}
	return english
}
