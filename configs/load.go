package configs

import (
	"maps"
	"reflect"

	"github.com/goccy/go-yaml/ast"

	"scanrelay/agent/intake/mapping"
	"scanrelay/configs/textfile"
)

// LoadAgent reads an agent's configuration from a file and from environ (as
// os.Environ gives it). With errors among the problems the result is not to be
// used; it is never nil.
//
// remote, if it is given, counts as what the centre gave, instead of what data_dir has of
// it.
func LoadAgent(path string, environ []string, remote ...[]byte) (*Agent, Problems) {
	data, problems := readAll(path)
	if problems != nil {
		return DefaultAgent(), problems
	}
	return readAgentWith(path, data, environ, nil, func(*checker, string) {}, remote...)
}

// ReadAgent is LoadAgent of a file's content; name is what problems call it.
func ReadAgent(name string, data []byte, environ []string) (*Agent, Problems) {
	return readAgent(name, data, environ, func(*checker, string) {})
}

// Draft is an agent's configuration as it would be with a file of data_dir's sources.d in
// another form.
type Draft struct {
	Agent    *Agent
	Own      []mapping.Source // of that file
	Problems Problems
}

// DraftAgent is LoadAgent with a text in the place of the file that name has in data_dir's
// sources.d, be it there or not.
func DraftAgent(path string, environ []string, name string, text []byte, remote ...[]byte) (d Draft) {
	data, problems := readAll(path)
	if problems != nil {
		return Draft{Agent: DefaultAgent(), Problems: problems}
	}
	d.Agent, d.Problems = readAgentWith(path, data, environ, &draftFile{name + ".yaml", text, &d.Own}, func(*checker, string) {}, remote...)
	return d
}

// draftFile stands for a file of data_dir's sources.d; own gets its sources.
type draftFile struct {
	name string
	text []byte
	own  *[]mapping.Source
}

// CheckAgent is LoadAgent, and tries data_dir as a start does.
func CheckAgent(path string, environ []string) (*Agent, Problems) {
	data, problems := readAll(path)
	if problems != nil {
		return DefaultAgent(), problems
	}
	return readAgent(path, data, environ, (*checker).tryDataDir)
}

func readAgent(name string, data []byte, environ []string, dir func(*checker, string)) (*Agent, Problems) {
	return readAgentWith(name, data, environ, nil, dir)
}

// readAgentWith reads a configuration. What is wrong with the centre's part alone, which this
// gateway took once, keeps nothing from starting: without that part it is as before.
func readAgentWith(name string, data []byte, environ []string, draft *draftFile, dir func(*checker, string), remote ...[]byte) (*Agent, Problems) {
	a, problems := readParts(name, data, environ, draft, dir, remote)
	if !problems.Failed() || len(remote) > 0 || !hasRemote(a.DataDir) {
		return a, problems
	}
	b, without := readParts(name, data, environ, draft, dir, [][]byte{nil})
	if without.Failed() {
		return a, problems
	}
	p := problems.Errors()[0]
	b.RemoteUnused = p.String()
	p.Warning = true
	return b, append(without, p, Problem{File: p.File, Text: "is not used, for its mistake: the gateway's own configuration is, alone", Warning: true})
}

func readParts(name string, data []byte, environ []string, draft *draftFile, dir func(*checker, string), remote [][]byte) (*Agent, Problems) {
	a := DefaultAgent()
	problems := load(name, data, environ, a, func(c *checker) {
		a.WaybillPatternSet = c.given("waybill_pattern")
		c.further(a, draft, remote)
		c.agent(a)
		dir(c, a.DataDir)
		a.Complete()
	})
	return a, problems
}

// LoadCentral reads a centre's configuration as LoadAgent does an agent's.
func LoadCentral(path string, environ []string) (*Central, Problems) {
	data, problems := readAll(path)
	if problems != nil {
		return defaultCentral(), problems
	}
	return ReadCentral(path, data, environ)
}

// ReadCentral is LoadCentral of a file's content.
func ReadCentral(name string, data []byte, environ []string) (*Central, Problems) {
	return readCentral(name, data, environ, func(*checker, string) {})
}

// CheckCentral is LoadCentral, and tries data_dir as a start does.
func CheckCentral(path string, environ []string) (*Central, Problems) {
	data, problems := readAll(path)
	if problems != nil {
		return defaultCentral(), problems
	}
	return readCentral(path, data, environ, (*checker).tryDataDir)
}

func readCentral(name string, data []byte, environ []string, dir func(*checker, string)) (*Central, Problems) {
	a := defaultCentral()
	problems := load(name, data, environ, a, func(c *checker) {
		c.central(a)
		dir(c, a.DataDir)
	})
	return a, problems
}

func load(name string, data []byte, environ []string, into any, check func(*checker)) Problems {
	d := newDecoder(name)
	body, ok := d.parse(data)
	if !ok {
		return d.found
	}
	v := reflect.ValueOf(into).Elem()
	if body != nil {
		d.decode(body, v, "", 0)
	}
	d.override(v, environ)
	d.bothGiven()
	c := &checker{decoder: d, undone: maps.Clone(d.wrong)}
	check(c)
	if len(d.inline) > 0 {
		c.exposed(d.inline[0], name)
	}
	d.found.sort(name)
	return d.found
}

// readAll reads a file; the problem, if it can't, has one line.
func readAll(path string) ([]byte, Problems) {
	data, err := textfile.Read(path, maxFile)
	if err == nil {
		return data, nil
	}
	return nil, Problems{{File: path, Text: "cannot be read: " + why(err).Error()}}
}

// parse reads the document; false if there is no going on.
func (d *decoder) parse(data []byte) (ast.Node, bool) {
	body, line, err := parseYAML(data)
	if err != nil {
		d.fail(place{file: d.file, line: line}, "", "%s", err)
		return nil, false
	}
	return body, true
}

// Role is which of the program's roles a configuration is for.
type Role string

// The roles that have a configuration.
const (
	RoleAgent   Role = "agent"
	RoleCentral Role = "central"
)

// DetectRole tells whose configuration a file is: one with depot is an agent's,
// one with wechat.appid or depots a centre's; neither or both is a problem.
func DetectRole(path string) (Role, Problems) {
	data, problems := readAll(path)
	if problems != nil {
		return "", problems
	}
	return detectRole(path, data)
}

func detectRole(path string, data []byte) (Role, Problems) {
	d := newDecoder(path)
	body, ok := d.parse(data)
	if !ok {
		return "", d.found
	}
	agent, central := "", ""
	for _, p := range d.peek(body) {
		switch p.key {
		case "depot":
			agent = "depot"
		case "depots":
			central = "depots"
		case "wechat":
			for _, q := range d.peek(p.value) {
				if q.key == "appid" {
					central = "wechat.appid"
				}
			}
		}
	}
	switch {
	case agent != "" && central == "":
		return RoleAgent, nil
	case central != "" && agent == "":
		return RoleCentral, nil
	case agent == "":
		d.fail(place{file: path, line: 1}, "", "has neither depot (an agent's) nor wechat.appid or depots (a centre's); say which with --role")
	default:
		d.fail(place{file: path, line: 1}, "", "has depot (an agent's) and %s (a centre's); say which with --role", central)
	}
	return "", d.found
}

// peek lists a mapping's keys and forgets what is wrong with them.
func (d *decoder) peek(n ast.Node) []pair {
	n, ok := d.resolve(n)
	if _, isMap := n.(ast.MapNode); !ok || !isMap {
		return nil
	}
	quiet := &decoder{file: d.file, places: map[string]place{}, wrong: map[string]bool{}, anchors: d.anchors}
	return quiet.pairs(n, "", 0)
}
