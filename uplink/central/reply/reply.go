package reply

import (
	"encoding/json"
	"net/http"

	"scanrelay/uplink/syncapi"
)

// JSON answers with v. A client that has gone away is no error of ours.
func JSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}

// Fail answers with a syncapi.Failure.
func Fail(w http.ResponseWriter, status int, why string) {
	JSON(w, status, syncapi.Failure{Error: why})
}
