package mapping

import "testing"

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
