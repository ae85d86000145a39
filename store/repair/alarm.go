package repair

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"scanrelay/store/durable"
	"scanrelay/store/format"
)

// Alarm says what people have to know of damage, a line for each file, for as long
// as something that was set aside is there: then a person has taken it away. news
// is what this process met; reports are of segments that were rebuilt, at this
// start or before, by number. Of what was told before only that stays of which
// nothing newer is said.
func Alarm(dir string, news, told []string, reports map[uint64]string) (lines []string, err error) {
	paths, err := durable.Aside(dir, "")
	if err != nil {
		return nil, fmt.Errorf("list damaged files: %w", err)
	}
	unsaid := map[string]bool{}
	for _, path := range paths {
		name := filepath.Base(path)
		n, _ := format.NumberOf(path)
		report := reports[n]
		unsaid[name] = report == "" && !slices.ContainsFunc(news, func(line string) bool { return names(line, name) })
		if report != "" && !slices.Contains(slices.Concat(news, lines), report) {
			lines = append(lines, report)
		}
	}
	for _, line := range told {
		said := true
		for name := range unsaid {
			if unsaid[name] && names(line, name) {
				unsaid[name], said = false, false
			}
		}
		if !said {
			lines = append(lines, line)
		}
	}
	for _, path := range paths {
		if name := filepath.Base(path); unsaid[name] {
			lines = append(lines, "a damaged file was kept as "+name)
		}
	}
	return append(lines, news...), nil
}

// Gone says what is gone though nobody has set it aside, and notes it in a file that
// keeps the alarm until a person takes it away; without room for it only this process
// says so.
func Gone(dir, name, what string) (line string, err error) {
	name += durable.AsideSuffix
	line = what + "; noted in " + name
	if err = durable.Create(filepath.Join(dir, name), []byte(line+"\n")); durable.NoSpace(err) {
		err = nil
	}
	return line, err
}

// names reports whether a line names a file.
func names(line, file string) bool {
	return slices.Contains(strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" ;,:", r) }), file)
}
