package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// folder writes files below a temporary folder and returns it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// gatewayYAML is an agent's configuration without sources, of a gateway whose data is
// in the folder data beside it.
func gatewayYAML(dir, more string) string {
	return "depot: {id: hz-01}\ndata_dir: " + filepath.Join(dir, "data") + "\n" +
		"central: {url: http://127.0.0.1:1, token: 0123456789abcdef}\nmqtt: {broker: embedded, listen: 127.0.0.1:1}\n" + more
}

// TestSourcesD: the sources and stations of both folders come behind the
// configuration's own, by the files' names; a station that is there already stays.
func TestSourcesD(t *testing.T) {
	dir := folder(t, map[string]string{
		"etc/sources.d/20-b.yaml":  "sources: [{topic: b/#}]\nstations: {s1: {name: later}, s2: {name: two}}\n",
		"etc/sources.d/10-a.yaml":  "sources: [{topic: a/+}, {topic: a/x}]\nstations: {s1: {name: first}}\n",
		"etc/sources.d/readme.txt": "what these are",
		"etc/sources.d/.10-a.swp":  "\x00",
		"data/sources.d/page.yaml": "sources: [{topic: own/1}, {topic: c}]\n",
	})
	file := filepath.Join(dir, "etc", "agent.yaml")
	for _, c := range []struct {
		yaml, topics, warnings string
	}{
		{"", "a/+ a/x b/# own/1 c", "10-a.yaml:1: sources[1].topic: warning: is never reached: the source of a/+ comes first and takes all of it\n" +
			"20-b.yaml:2: stations.s1: warning: has no effect: 10-a.yaml has it already\n" +
			"readme.txt: sources: warning: is not read: its name must end in .yaml"},
		{"sources: [{topic: own/#}]\n", "own/# a/+ a/x b/# own/1 c", "page.yaml:1: sources[0].topic: warning: is never reached: the source of own/# comes first and takes all of it"},
	} {
		if err := os.WriteFile(file, []byte(gatewayYAML(dir, c.yaml)), 0o600); err != nil {
			t.Fatal(err)
		}
		a, problems := LoadAgent(file, nil)
		if problems.Failed() {
			t.Fatal(problems)
		}
		var topics []string
		for _, s := range a.Sources {
			topics = append(topics, s.Topic)
		}
		if got := strings.Join(topics, " "); got != c.topics {
			t.Errorf("sources are %s, want %s", got, c.topics)
		}
		if a.Stations["s1"].Name != "first" || a.Stations["s2"].Name != "two" {
			t.Errorf("stations are %+v", a.Stations)
		}
		said := strings.ReplaceAll(problems.String(), filepath.Join(dir, "etc", "sources.d")+"/", "")
		for line := range strings.Lines(c.warnings) {
			if !strings.Contains(said, strings.TrimSpace(line)) {
				t.Errorf("it does not say %sbut\n%s", line, said)
			}
		}
	}
}

// TestPagesAddToTheDefault: where only pages gave sources, what was taken before still is,
// unless they took it over.
func TestPagesAddToTheDefault(t *testing.T) {
	for page, want := range map[string]string{"own/1": "[own/1 scans/#]", "scans/gate-1": "[scans/gate-1 scans/#]", "scans/#": "[scans/#]", "'#'": "[#]"} {
		dir := folder(t, map[string]string{"data/sources.d/page.yaml": "sources: [{topic: " + page + "}]\n"})
		file := filepath.Join(dir, "agent.yaml")
		if err := os.WriteFile(file, []byte(gatewayYAML(dir, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		a, problems := LoadAgent(file, nil)
		var topics []string
		for _, s := range a.Sources {
			topics = append(topics, s.Topic)
		}
		if got := fmt.Sprint(topics); got != want || len(problems) > 0 {
			t.Errorf("%s: the sources are %s, want %s; %s", page, got, want, problems)
		}
	}
}

// TestDraft: a draft is read as if it stood in data_dir's folder, be that there or not, in
// the place of a file of its name, and what it shadows or is shadowed by is named.
func TestDraft(t *testing.T) {
	dir := folder(t, map[string]string{"agent.yaml": ""})
	file := filepath.Join(dir, "agent.yaml")
	if err := os.WriteFile(file, []byte(gatewayYAML(dir, "sources: [{topic: own/#}]\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(text, topics, problem string) {
		t.Helper()
		d := DraftAgent(file, nil, "m", []byte(text))
		var got []string
		for _, s := range d.Agent.Sources {
			got = append(got, s.Topic)
		}
		if fmt.Sprint(got) != topics || !strings.Contains(d.Problems.String(), problem) || problem == "" && len(d.Problems) > 0 {
			t.Errorf("%s: %v %s", text, got, d.Problems)
		}
	}
	check("sources: [{topic: a}]", "[own/# a]", "")
	check("sources: [{topic: own/a}]", "[own/# own/a]", "m.yaml:1: sources[0].topic: warning: is never reached: the source of own/# comes first")
	check("sources: [{topc: a}]", "[own/# ]", `m.yaml:1: sources[0].topc: unknown key "topc"`)
	check("mqtt: {}", "[own/#]", "m.yaml:1: mqtt: ")
	if err := os.MkdirAll(filepath.Join(dir, "data", "sources.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"m.yaml": "sources: [{topic: before}]", "z.yaml": "sources: [{topic: z/1}]"} {
		if err := os.WriteFile(filepath.Join(dir, "data", "sources.d", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check("sources: [{topic: a}]", "[own/# a z/1]", "")
	check("sources: [{topic: z/#}]", "[own/# z/# z/1]", "z.yaml:1: sources[0].topic: warning: is never reached: the source of z/# comes first")
	if d := DraftAgent(file, nil, "m", []byte("sources: [{topic: a}, {topic: b}]")); len(d.Own) != 2 {
		t.Errorf("its own sources are %v", d.Own)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "sources.d", "m.yaml")); err != nil {
		t.Error(err)
	}
}

// TestSourcesDProblems: what is wrong with a file is said of that file, in its words.
func TestSourcesDProblems(t *testing.T) {
	many := map[string]string{}
	for i := range maxSourceFiles + 1 {
		many[fmt.Sprintf("sources.d/%04d.yaml", i)] = fmt.Sprintf("sources: [{topic: t/%d}]", i)
	}
	for want, files := range map[string]map[string]string{
		"x.yaml:3: sources[1].decoder: ":                  {"sources.d/x.yaml": "sources:\n - {topic: a}\n - {topic: b, decoder: jsn}\n"},
		"x.yaml:2: sources[0].columns: is required":       {"sources.d/x.yaml": "sources:\n - {topic: a, decoder: csv}\n"},
		"x.yaml:1: mqtt: ":                                {"sources.d/x.yaml": "mqtt: {broker: x}\n"},
		"x.yaml:1: stations.q.action_type: ":              {"sources.d/x.yaml": "stations: {q: {action_type: 7}}\n"},
		"x.yaml:1: ":                                      {"sources.d/x.yaml": "sources: [\n"},
		"x.yaml: sources: cannot be read: ":               {"sources.d/x.yaml/y": ""},
		"sources.d: sources: has more than 256 files":     many,
		"sources.d: sources: cannot be read: ":            {"sources.d": ""},
		"data/sources.d/z.yaml:1: sources[0].topic: is r": {"data/sources.d/z.yaml": "sources: [{decoder: json}]"},
	} {
		dir := folder(t, files)
		a, problems := ReadAgent(filepath.Join(dir, "agent.yaml"), []byte(gatewayYAML(dir, "sources: [{topic: first}]\n")), nil)
		if !problems.Failed() || !strings.Contains(problems.String(), want) {
			t.Errorf("want %q, it says\n%s", want, problems)
		}
		if !slices.ContainsFunc(problems.Errors(), func(p Problem) bool { return strings.HasPrefix(p.File, dir) }) {
			t.Errorf("no problem is said of a file: %s", problems)
		}
		if a == nil {
			t.Error("no configuration")
		}
	}
}

// TestSourcesDPipe: a pipe among the files holds up neither check nor reload.
func TestSourcesDPipe(t *testing.T) {
	dir := folder(t, map[string]string{"sources.d/a.yaml": "sources: [{topic: a}]"})
	if err := syscall.Mkfifo(filepath.Join(dir, "sources.d", "x.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, problems := ReadAgent(filepath.Join(dir, "agent.yaml"), []byte(gatewayYAML(dir, "")), nil)
	if want := "x.yaml: sources: cannot be read: is no regular file"; !strings.Contains(problems.String(), want) {
		t.Errorf("want %q, it says\n%s", want, problems)
	}
}
