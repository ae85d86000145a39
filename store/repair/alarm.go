package repair

import (
	"errors"
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
func Gone(dir, file, what string) (line string, err error) {
	line = what + "; noted in " + file
	if err = durable.Create(filepath.Join(dir, file), []byte(line+"\n")); durable.NoSpace(err) {
		err = nil
	}
	return line, err
}

// GoneSegments does so with the segments from a number to the newest that have a key and
// no file, and with the one that was the newest by what the last process left, if any.
// Who only reads notes nothing.
func GoneSegments(dir string, from, newest, left uint64, keyed func(number uint64) bool, told []string, reading bool) (gone []uint64, lines []string, err error) {
	for n := from; n <= max(newest, left); n++ {
		if durable.Exists(filepath.Join(dir, format.Name(n))) || n < newest && !keyed(n) || n > newest && n < left {
			continue
		}
		line, bad := goneSegment(dir, n, slices.Concat(told, lines), reading)
		if err = errors.Join(err, bad); line != "" {
			gone, lines = append(gone, n), append(lines, line)
		}
	}
	return gone, lines, err
}

// goneSegment does so with one, unless what was told explains that it is not there:
// nothing of it could be read, or it was noted before.
func goneSegment(dir string, number uint64, told []string, reading bool) (line string, err error) {
	what, file := fmt.Sprintf("segment %d is gone", number), filepath.Join(dir, format.Name(number))
	files, err := durable.Aside(dir, format.Name(number))
	if err != nil {
		return "", fmt.Errorf("list damaged files: %w", err)
	}
	for _, path := range files {
		if durable.Size(path) < format.MinSize { // a note
			note, _ := durable.ReadFile(path) // one that cannot be read explains nothing
			told = append(told[:len(told):len(told)], string(note))
		}
	}
	explained := slices.ContainsFunc(told, func(line string) bool {
		return strings.HasPrefix(line, what) || strings.HasPrefix(line, nothingRead(number)) || len(files) == 0 && strings.Contains(line, filepath.Base(file)+durable.AsideSuffix)
	})
	switch {
	case explained:
	case reading:
		line = what
	default:
		line, err = Gone(dir, durable.AsideName(file), what)
	}
	return line, err
}

// LastAside returns the highest number of a segment of which something was set aside,
// or that was noted as gone; 0: there is none. It must not be given again.
func LastAside(dir string) (last uint64, err error) {
	aside, err := durable.Aside(dir, "")
	if err != nil {
		return 0, fmt.Errorf("list damaged files: %w", err)
	}
	for _, path := range aside {
		if n, ok := format.NumberOf(path); ok {
			last = max(last, n)
		}
	}
	return last, nil
}

// names reports whether a line names a file.
func names(line, file string) bool {
	return slices.Contains(strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" ;,:", r) }), file)
}
