package serve

import (
	"bufio"
	"encoding/json"
	"iter"
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

// List answers with {name: [...]}, each entry of which is written as it comes, so that
// a long list takes no memory.
func List[T any](w http.ResponseWriter, name string, all iter.Seq[T]) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	b := bufio.NewWriterSize(w, 32<<10)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_, err := b.WriteString(`{"` + name + `":[`)
	first := true
	for v := range all {
		if !first {
			err = b.WriteByte(',')
		}
		if first = false; err == nil {
			err = e.Encode(v)
		}
		if err != nil { // who asked has gone
			return
		}
	}
	_, _ = b.WriteString("]}\n")
	_ = b.Flush()
}
