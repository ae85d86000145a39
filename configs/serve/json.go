package serve

import (
	"encoding/json"
	"net/http"
)

// JSON answers with v. A client that has gone away is no error of ours.
func JSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}

// Fail answers with {"error": why}, which must hold nothing of a body that was
// sent.
func Fail(w http.ResponseWriter, status int, why string) {
	JSON(w, status, map[string]string{"error": why})
}
