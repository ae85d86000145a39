package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"scanrelay/agent/intake/mapping"
	"scanrelay/configs/textfile"
)

// SourcesDir is the folder of files with sources and stations of their own: beside
// the agent's configuration those of the administrator, then in data_dir those that
// pages and the centre write.
const SourcesDir = "sources.d"

// maxSourceFiles bounds how many files of a folder are read.
const maxSourceFiles = 256

// further is what one file of sources.d holds.
type further struct {
	Sources  []mapping.Source           `yaml:"sources"`
	Stations map[string]mapping.Station `yaml:"stations"`
}

// further adds the sources and stations of both folders, in the order of the files'
// names, after those of the configuration itself: the first that matches takes a
// message. draft may stand for a file of data_dir.
//
// An administrator who gives sources says all that is taken; what pages and the centre
// write adds to it. So the default source stays, as the last, where only they gave some.
func (c *checker) further(a *Agent, draft *draftFile, remote [][]byte) {
	own := c.given("sources")
	read := func(dir string, draft *draftFile) {
		for _, file := range c.sourceFiles(dir, draft) {
			var text []byte
			isDraft := draft != nil && filepath.Base(file) == draft.name
			if isDraft {
				text = draft.text
			}
			f, d := c.readFurther(file, text, isDraft)
			if f == nil {
				continue
			}
			if isDraft {
				*draft.own = f.Sources
			}
			if !own && len(f.Sources) > 0 { // then the default is not meant
				own, a.Sources = true, nil
			}
			c.join(a, f, d)
		}
	}
	read(filepath.Join(filepath.Dir(c.file), SourcesDir), nil)
	alone := !own
	read(filepath.Join(a.DataDir, SourcesDir), draft)
	if c.remote(a, remote, own) {
		own = true
	}
	if alone && own {
		for _, s := range mapping.DefaultSources() {
			if !slices.ContainsFunc(a.Sources, func(o mapping.Source) bool { return o.Topic == s.Topic || o.Topic == "#" }) {
				a.Sources = append(a.Sources, s)
			}
		}
	}
}

// sourceFiles lists the files of a folder that are to be read.
func (c *checker) sourceFiles(dir string, draft *draftFile) (files []string) {
	var names []string
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) { // what is wrong with data_dir is said of data_dir
		entries, err := os.ReadDir(dir)
		if err != nil {
			c.fail(place{file: dir}, "sources", "cannot be read: %s", why(err))
			return nil
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	if draft != nil && !slices.Contains(names, draft.name) {
		names = append(names, draft.name)
	}
	slices.Sort(names)
	for _, name := range names {
		file := filepath.Join(dir, name)
		switch {
		case strings.HasPrefix(name, "."): // an editor's
		case !strings.HasSuffix(name, ".yaml"):
			c.found = append(c.found, Problem{File: file, Key: "sources", Text: "is not read: its name must end in .yaml", Warning: true})
		case len(files) == maxSourceFiles:
			c.fail(place{file: dir}, "sources", "has more than %d files", maxSourceFiles)
			return files
		default:
			files = append(files, file)
		}
	}
	return files
}

// readFurther reads a file, of which a draft has the text already; nil if there is no
// going on.
func (c *checker) readFurther(file string, data []byte, isDraft bool) (*further, *decoder) {
	if !isDraft {
		info, err := os.Stat(file)
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("is no regular file") // to read a pipe may take for ever
		}
		if err == nil {
			data, err = textfile.Read(file, maxFile)
		}
		if err != nil {
			c.fail(place{file: file}, "sources", "cannot be read: %s", why(err))
			return nil, nil
		}
	}
	d := newDecoder(file)
	f := &further{}
	body, ok := d.parse(data)
	if ok && body != nil {
		d.decode(body, reflect.ValueOf(f).Elem(), "", 0)
	}
	c.found = append(c.found, d.found...)
	if !ok {
		c.wrong["sources"] = true
		return nil, nil
	}
	return f, d
}

// ofSource is a key of a source.
var ofSource = regexp.MustCompile(`^sources\[(\d+)\]`)

// join puts what a file holds behind what there is. Its sources count on from
// those, but problems name them as the file does (place.first). A station that is
// there already stays as it is.
func (c *checker) join(a *Agent, f *further, d *decoder) {
	first := len(a.Sources)
	a.Sources = append(a.Sources, f.Sources...)
	c.adopt(d, "sources", func(key string) string {
		return ofSource.ReplaceAllStringFunc(key, func(m string) string { return shifted(m, first) })
	}, first)
	for _, id := range slices.Sorted(maps.Keys(f.Stations)) {
		key := "stations." + id
		if _, again := a.Stations[id]; again {
			at := d.places[key]
			c.found = append(c.found, Problem{
				File: at.file, Line: at.line, Key: key, Text: "has no effect: " + c.placeOf(key).file + " has it already", Warning: true,
			})
			continue
		}
		if a.Stations == nil {
			a.Stations = make(map[string]mapping.Station)
		}
		a.Stations[id] = f.Stations[id]
		c.adopt(d, key, func(key string) string { return key }, 0)
	}
}

// adopt takes over what a file's decoder knows of a key and of those below it.
func (c *checker) adopt(d *decoder, top string, renamed func(string) string, first int) {
	below := func(key string) bool {
		rest, ok := strings.CutPrefix(key, top)
		return ok && rest != "" && strings.ContainsRune(".[", rune(rest[0])) || key == top && top != "sources"
	}
	for key, p := range d.places {
		if below(key) {
			p.first = first
			c.places[renamed(key)] = p
		}
	}
	for key := range d.wrong {
		if below(key) {
			c.wrong[renamed(key)], c.undone[renamed(key)] = true, true
		}
	}
}

// shifted is the key of a source, moved by some places.
func shifted(key string, by int) string {
	n, err := strconv.Atoi(ofSource.FindStringSubmatch(key)[1])
	if err != nil {
		return key
	}
	return fmt.Sprintf("sources[%d]", n+by)
}

// as names a key as the file does in which it stands.
func (p place) as(key string) string {
	if p.first == 0 {
		return key
	}
	return ofSource.ReplaceAllStringFunc(key, func(m string) string { return shifted(m, -p.first) })
}
