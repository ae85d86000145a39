package mapping

import (
	"strings"
	"testing"
	texttemplate "text/template"
	"time"
)

var templateSample = templateData{
	Depot: templatePlace{"hz-01", "杭州转运中心"}, Station: templatePlace{"gate-3", "三号门"},
	Event: templateEvent{WaybillID: "YT1", ActionType: 300002, ActionTime: templateTime{time.Date(2026, 11, 23, 8, 5, 0, 0, time.UTC)}},
}

// TestTemplate holds that a message comes out as text/template itself would
// have it.
func TestTemplate(t *testing.T) {
	for _, text := range []string{
		"快件到达 【{{.Depot.Name}}】",
		"{{.Depot.ID}}{{.Station.ID}} {{- /* near */ -}} {{.Station.Name}} {{.Event.WaybillID}} {{.Event.ActionType}} {{.Event.ActionType.Chinese}}{{.Event.ActionType.English}}",
		"{{.Event.ActionTime}} {{.Event.ActionTime.Format \"15:04\"}}",
		"{{if .Event.DeviceID}}by {{.Event.DeviceID}}{{else}}by hand{{end}}",
		"{{if eq .Event.ActionType 100001 300002}}a{{else if ne .Station.ID \"x\"}}b{{end}}",
		"{{with .Station.Name}}{{.}} {{$.Depot.ID}}{{else}}none{{end}}{{with .Event.DeviceID}}{{.}}{{else}}{{.Depot.ID}}{{end}}",
		"{{$d := .Depot.Name}}{{$d}} {{if $x := .Station.ID}}{{$x}}{{end}}{{define \"x\"}}{{.Anything}}{{end}}", "{{/* nothing */}}",
		"{{if and .Depot.ID (not .Event.DeviceID)}}a{{end}}{{if or .Event.DeviceID false}}b{{else}}c{{end}}",
		"{{if lt .Event.ActionType 300002}}a{{else if ge .Event.ActionType 300003}}b{{else}}c{{end}}{{if le 1 1}}d{{end}}{{if gt \"b\" \"a\"}}e{{end}}",
		"{{if (eq .Station.ID \"gate-3\" \"gate-4\") | not}}a{{else}}{{ne 1 2}}{{eq \"x\" \"y\" \"z\"}}{{end}}",
		"{{.Depot.Name | printf \"%s %d\" .Station.ID | print}} {{print 1 \"x\"}} {{`raw`}} {{true}}",
	} {
		parsed, err := parseTemplate(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := parsed.execute(templateSample)
		var want strings.Builder
		if err2 := texttemplate.Must(texttemplate.New("").Parse(text)).Execute(&want, templateSample); err != nil || err2 != nil {
			t.Errorf("%s: %v, %v", text, err, err2)
		}
		if got != want.String() {
			t.Errorf("%s is %q, want %q", text, got, want.String())
		}
	}
}

// TestTemplateRefused finds what is wrong in every branch, before an event needs
// it, and names it.
func TestTemplateRefused(t *testing.T) {
	for text, names := range map[string]string{
		"{{":                                     "action_msg:1",
		"{{.Nope}}":                              ".Nope",
		"{{.Depot}}":                             ".Depot",
		"{{.Depot.City}}":                        ".Depot.City",
		"{{if true}}a{{else}}{{.Nope}}{{end}}":   ".Nope",
		"{{if false}}{{.Nope}}{{end}}":           ".Nope",
		"{{range .Depot.Name}}{{end}}":           "there are fields, constants",
		"{{call .Depot.ID}}":                     "call",
		"{{.Depot.ID 1}}":                        "no argument",
		"{{.Field}}":                             "takes the place of a value",
		"{{.Field 1}}":                           "takes the place of a value",
		"{{.Field \"next\"}}":                    "topic[N]",
		"{{.Field \"topic(1)\"}}":                "topic[1]",
		"{{\"x\" 1}}":                            "x",
		"{{.Event.ActionTime.Format}}":           "layout",
		"{{.Event.ActionTime.Format 1}}":         "layout",
		"{{printf 1}}":                           "printf",
		"{{not}}":                                "not",
		"{{print .}}":                            ". cannot",
		"{{with .Depot.ID}}{{.Depot.ID}}{{end}}": ".Depot.ID",
		"{{$x := .Depot.ID}}{{$x.Y}}":            "$x.Y",
		"{{$.Nope}}":                             "$.Nope",
		"{{eq .Event.ActionType \"300002\"}}":    "without quotes",
		"{{eq .Station.ID 3}}":                   "in quotes",
		"{{lt true false}}":                      "numbers or texts",
		"{{lt 1}}":                               "wrong arguments",
		"{{1.5}}":                                "1.5",
		"{{template \"x\"}}":                     "template",
	} {
		if _, err := parseTemplate(text); err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%s: %v, want an error that names %q", text, err, names)
		}
	}
}

func TestMessageTemplates(t *testing.T) {
	wrong := func(text string) bool {
		_, problems := Compile(Config{Sources: DefaultSources(), Stations: map[string]Station{"a": {ActionMsg: text}}})
		return problems.Err() != nil
	}
	for _, text := range []string{
		"", "plain", "{{.Depot.Name}}", "快件到达 【{{ .Depot.Name }}】{{.Station.ID}}",
		`{{if eq .Event.ActionType 300002}}派件{{else}}{{printf "%s" .Event.WaybillID}}{{end}}`,
		`{{.Event.ActionTime.Format "15:04"}}`, `{{with .Station.Name}}{{.}}{{end}}`, "{{/* nothing */}}",
		`{{define "x"}}{{.Anything}}{{end}}a`, "{{$d := .Depot.Name}}{{$d}}",
	} {
		if wrong(text) {
			t.Errorf("%q is refused", text)
		}
	}
	for _, text := range []string{
		"{{", "{{.Depot.City}}", "{{.Event}}{{.Evnt.DeviceID}}", "{{nofunc .Depot.ID}}", "{{if .Depot.X}}a{{end}}",
		"{{.Depot.Name | printf .Foo}}", "{{end}}",
	} {
		if !wrong(text) {
			t.Errorf("%q passes", text)
		}
	}
}
