package syncapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"sync"
)

// deflaters keeps gzip writers: each takes over half a megabyte to make.
var deflaters = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is a valid one
	return w
}}

// encodeRequest returns the gzipped body of a request. The reader is one that
// net/http can rewind.
func encodeRequest(r *Request) (*bytes.Reader, error) {
	var buf bytes.Buffer
	z := deflaters.Get().(*gzip.Writer)
	defer deflaters.Put(z)
	z.Reset(&buf)
	enc := json.NewEncoder(z)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return bytes.NewReader(buf.Bytes()), nil
}
