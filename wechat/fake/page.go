package fake

import (
	"encoding/json"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// shown is one push as the page and /pushes show it: personal data masked.
type shown struct {
	Seq       int       `json:"seq"`
	At        time.Time `json:"at"`
	WaybillID string    `json:"waybill_id"`
	Phone     string    `json:"phone"`
	Type      int       `json:"action_type"`
	Time      int64     `json:"action_time"`
	Msg       string    `json:"action_msg"`
}

// servePage serves the list of what was pushed, as HTML on / and as JSON on
// /pushes; everything else is 404.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		page.Execute(w, s.shown()) // a reader that has gone is no concern of ours
	case "/pushes":
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.shown())
	default:
		http.NotFound(w, r)
	}
}

// shown lists the pushes, newest first.
func (s *Server) shown() []shown {
	pushes := s.Pushes()
	list := make([]shown, 0, len(pushes))
	for _, p := range slices.Backward(pushes) {
		list = append(list, shown{p.Seq, p.At.UTC(), p.WaybillID, mask(p.Receiver.Phone), p.Node.ActionType, p.Node.ActionTime, digits.ReplaceAllStringFunc(p.Node.ActionMsg, mask)})
	}
	return list
}

// mask hides all but the first three and last two digits of a phone.
func mask(phone string) string {
	if len(phone) < 11 {
		return strings.Repeat("*", len(phone))
	}
	return phone[:3] + strings.Repeat("*", len(phone)-5) + phone[len(phone)-2:]
}

// digits finds what may be a phone in a text.
var digits = regexp.MustCompile(`[0-9]{7,}`)

var page = template.Must(template.New("pushes").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Fake WeChat: pushed messages</title>
<style>
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #8884;vertical-align:top}
td:first-child,th:first-child{text-align:right}
</style>
<h1>Pushed messages</h1>
<p>This is a fake WeChat. Nothing here reached anybody's phone; numbers are masked.</p>
<table><thead><tr><th>#<th>Time (UTC)<th>Waybill<th>Phone<th>Type<th>Text</thead><tbody>
{{range .}}<tr><td>{{.Seq}}<td>{{.At.Format "15:04:05.000"}}<td>{{.WaybillID}}<td>{{.Phone}}<td>{{.Type}}<td>{{.Msg}}
{{else}}<tr><td colspan="6">nothing yet{{end}}</tbody></table></html>
`))
