package central

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"scanrelay/configs/serve"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
	"scanrelay/uplink/syncapi/order"
)

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, syncapi.MaxBodyBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, errTooLarge()
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "the body breaks off")
	}
	return body, nil
}

func errTooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, "the body has more than %d bytes", syncapi.MaxBodyBytes)
}

// stranger is what a request of whichever version says: a depot that speaks another one
// can be brought up to date.
type stranger struct {
	V      int
	Agent  string
	Update *directive.UpdateState
}

// decodeSync reads and checks a request; with a 409 it returns what could be read. What it says never quotes the body.
func decodeSync(body []byte) (*syncapi.Request, error) {
	var req syncapi.Request
	err := unmarshalSync(body, &req)
	version := stranger{V: req.V, Agent: req.Agent, Update: req.Update}
	if err != nil && json.Unmarshal(body, &version) != nil { // another version's fields may have other types and bounds
		return nil, err
	}
	if version.V != syncapi.Version {
		return &syncapi.Request{Agent: version.Agent, Update: version.Update}, refuse(http.StatusConflict, "this centre speaks version %d of the sync API, the depot version %d: update the older of them",
			syncapi.Version, version.V)
	}
	if err == nil {
		err = checkSync(&req)
	}
	return &req, err
}

func unmarshalSync(body []byte, req *syncapi.Request) error {
	if n := syncapi.LongestList(body); n > syncapi.MaxList {
		return refuse(http.StatusRequestEntityTooLarge, "a list has %d entries, far more than are taken of any", n)
	}
	err := json.Unmarshal(body, req)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return refuse(http.StatusBadRequest, "field %s has the wrong type", wrong.Field)
	case err != nil:
		return refuse(http.StatusBadRequest, "the body is no JSON object of a sync")
	}
	return nil
}

func checkSync(req *syncapi.Request) error {
	for _, l := range []struct {
		name       string
		have, most int
	}{
		{"events", len(req.Events), syncapi.MaxEvents}, {"ask", len(req.Ask), syncapi.MaxAsk},
		{"waiting", len(req.Waiting), syncapi.MaxWaiting}, {"bindings", len(req.Bindings), syncapi.MaxBindings},
		{"done", len(req.Done), order.MaxOpen}, {"looked", len(req.Looked), order.MaxLooks * order.MaxFates},
		// Each brings waybill data into the answer.
		{"events and ask together", len(req.Events) + len(req.Ask), syncapi.MaxEvents},
	} {
		if l.have > l.most {
			return refuse(http.StatusRequestEntityTooLarge, "%s has %d entries, at most %d are taken", l.name, l.have, l.most)
		}
	}
	if _, err := syncapi.ParseEpoch(req.Epoch); err != nil {
		return refuse(http.StatusBadRequest, "epoch: want 16 hex digits")
	}
	for i := range req.Ask {
		if _, err := syncapi.ParseEpoch(req.Ask[i].Epoch); err != nil {
			return refuse(http.StatusBadRequest, "ask %d: epoch: want 16 hex digits", i)
		}
	}
	return checkNumbers(req)
}

// checkNumbers holds the request to the rules of numbers (uplink/README.md, The
// sync protocol).
func checkNumbers(req *syncapi.Request) error {
	if req.NextSeq > syncapi.MaxSeq {
		return refuse(http.StatusBadRequest, "next_seq lies above %d", uint64(syncapi.MaxSeq))
	}
	last := uint64(0)
	for i := range req.Events {
		seq := req.Events[i].Seq
		switch {
		case seq <= last:
			return refuse(http.StatusBadRequest, "event %d: seq %d does not rise", i, seq)
		case seq < req.From:
			return refuse(http.StatusBadRequest, "event %d: seq %d lies below from %d", i, seq, req.From)
		case seq >= req.NextSeq:
			return refuse(http.StatusBadRequest, "event %d: seq %d is not below next_seq %d", i, seq, req.NextSeq)
		}
		last = seq
	}
	if len(req.Events) > 0 && req.From == 0 {
		return refuse(http.StatusBadRequest, "from is missing beside events")
	}
	return nil
}

var unzippers sync.Pool // of *gzip.Reader

// plain returns the body as it was before compression. A large one takes a place
// until release.
func (s *slots) plain(ctx context.Context, body []byte, encoding string) (plain []byte, release func(), err error) {
	release = func() {}
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		if len(body) > largeBody {
			release, err = take(ctx, s.large)
		}
		return body, release, err
	case "gzip":
	default:
		return nil, nil, refuse(http.StatusBadRequest, "Content-Encoding: only gzip is taken")
	}
	z, _ := unzippers.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	defer unzippers.Put(z)
	if err := z.Reset(bytes.NewReader(body)); err != nil {
		return nil, nil, refuse(http.StatusBadRequest, "the body is not gzip")
	}
	plain, err = io.ReadAll(io.LimitReader(z, largeBody))
	if err == nil && len(plain) == largeBody {
		if release, err = take(ctx, s.large); err != nil {
			return nil, nil, err
		}
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(z, syncapi.MaxBodyBytes-largeBody+1))
		plain = append(plain, rest...)
	}
	switch {
	case err != nil:
		err = refuse(http.StatusBadRequest, "the body is not whole gzip")
	case len(plain) > syncapi.MaxBodyBytes:
		err = errTooLarge()
	default:
		return plain, release, nil
	}
	release()
	return nil, nil, err
}

var zippers = sync.Pool{New: func() any { return gzip.NewWriter(io.Discard) }}

// zipFrom is the size from which an answer is worth compressing.
const zipFrom = 1024

// writeZipped answers a sync.
func writeZipped(w http.ResponseWriter, r *http.Request, resp *syncapi.Response) {
	body, err := json.Marshal(resp)
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, "the answer cannot be written")
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if len(body) < zipFrom || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		_, _ = w.Write(body) // a depot that has gone away sends again
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	z.Reset(w)
	_, _ = z.Write(body)
	_ = z.Close()
}
