package central

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/syncapi"
)

// Bounds of an import. The body may be of any length: it is read and stored
// piece by piece, and a client that sends nothing for importPause is cut off.
const (
	importBatch = 1000
	importPause = 30 * time.Second
	maxLine     = 64 << 10
	maxRejected = 10_000 // listed; the others are counted
)

// imported is the answer of POST /v1/waybills.
type imported struct {
	Stored   int        `json:"stored"`
	Rejected []rejected `json:"rejected"`
	// More is how many were rejected beyond those listed.
	More int `json:"more_rejected,omitempty"`
}

// rejected tells what is wrong with one line, or with one element of an array,
// counted from 1.
type rejected struct {
	Line      int    `json:"line"`
	WaybillID string `json:"waybill_id"`
	Error     string `json:"error"`
}

// importItem is one line.
type importItem struct {
	WaybillID string `json:"waybill_id"`
	syncapi.Waybill
}

// serveImport is POST /v1/waybills.
func (c *Central) serveImport(w http.ResponseWriter, r *http.Request) {
	if c.needAdmin(w, r) {
		return
	}
	body, err := importBody(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	i := &importer{c: c, ctx: r.Context(), control: http.NewResponseController(w), out: imported{Rejected: []rejected{}}}
	i.alive()
	if err := i.read(bufio.NewReaderSize(body, maxLine)); err != nil {
		c.o.Logger.Error("import waybill data", "err", err, "stored", i.out.Stored)
		w.Header().Set("Retry-After", "5")
		fail(w, http.StatusServiceUnavailable,
			fmt.Sprintf("the centre cannot store waybill data now; the first %d good lines are stored, send all again", i.out.Stored))
		return
	}
	writeJSON(w, http.StatusOK, i.out)
}

func importBody(r *http.Request) (io.Reader, error) {
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "", "identity":
		return r.Body, nil
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, errors.New("the body is not gzip")
		}
		return z, nil
	}
	return nil, errors.New("Content-Encoding: only gzip is taken")
}

// importer takes one body.
type importer struct {
	c       *Central
	ctx     context.Context
	control *http.ResponseController
	batch   []snapshot.Import
	out     imported
}

// alive gives the client another while. Not every ResponseWriter can.
func (i *importer) alive() {
	_ = i.control.SetReadDeadline(time.Now().Add(importPause))
	_ = i.control.SetWriteDeadline(time.Now().Add(2 * importPause))
}

// read takes a JSON array or JSON lines. Its error is the store's; what is
// wrong with the body ends up in the answer.
func (i *importer) read(body *bufio.Reader) error {
	first, err := firstByte(body)
	if err != nil {
		return nil // empty
	}
	if first == '[' {
		err = i.array(body)
	} else {
		err = i.lines(body)
	}
	if err != nil {
		return err
	}
	return i.flush()
}

// firstByte skips white space and a byte order mark.
func firstByte(body *bufio.Reader) (byte, error) {
	if mark, err := body.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = body.Discard(3)
	}
	for {
		b, err := body.Peek(1)
		if err != nil {
			return 0, err
		}
		// Newlines stay: they count.
		if b[0] != ' ' && b[0] != '\t' && b[0] != '\r' {
			if b[0] == '\n' {
				return arrayAfter(body), nil
			}
			return b[0], nil
		}
		_, _ = body.Discard(1)
	}
}

// arrayAfter looks over blank lines for the first byte of the content.
func arrayAfter(body *bufio.Reader) byte {
	for n := 1; n < 4096; n++ {
		b, err := body.Peek(n)
		if err != nil {
			return '\n'
		}
		if !unicode.IsSpace(rune(b[n-1])) {
			return b[n-1]
		}
	}
	return '\n'
}

// lines takes one waybill a line.
func (i *importer) lines(body *bufio.Reader) error {
	for n := 1; ; n++ {
		line, long, err := readLine(body)
		switch {
		case long:
			i.reject(n, "", fmt.Sprintf("the line is longer than %d bytes", maxLine))
		case len(strings.TrimSpace(string(line))) > 0:
			if err := i.item(n, line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			i.reject(n, "", "the body breaks off here")
			return nil
		}
	}
}

// readLine reads up to and with the next newline; of a line that does not fit
// it reports only that.
func readLine(body *bufio.Reader) (line []byte, long bool, err error) {
	line, err = body.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = body.ReadSlice('\n')
	}
	return line, long, err
}

// array takes the elements of a JSON array. Where the JSON itself is broken
// nothing after it can be read.
func (i *importer) array(body io.Reader) error {
	d := json.NewDecoder(body)
	if _, err := d.Token(); err != nil {
		i.reject(1, "", "the array breaks off here")
		return nil
	}
	n := 1
	for ; d.More(); n++ {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			i.reject(n, "", "broken JSON: nothing from this element on was read")
			return nil
		}
		if len(raw) > maxLine {
			i.reject(n, "", fmt.Sprintf("the element is longer than %d bytes", maxLine))
			continue
		}
		if err := i.item(n, raw); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		i.reject(n, "", "the array breaks off here")
	}
	return nil
}

// item takes one waybill.
func (i *importer) item(n int, raw []byte) error {
	var in importItem
	if err := json.Unmarshal(raw, &in); err != nil {
		i.reject(n, idOf(raw), jsonProblem(err))
		return nil
	}
	id := scan.NormalizeWaybill(in.WaybillID)
	data := in.Scan()
	if err := errors.Join(badID(id), badData(&data, i.c.o.Now())); err != nil {
		i.reject(n, string(id), strings.ReplaceAll(err.Error(), "\n", "; "))
		return nil
	}
	i.batch = append(i.batch, snapshot.Import{Waybill: id, Data: data})
	if len(i.batch) == importBatch {
		return i.flush()
	}
	return nil
}

// idOf finds the number of a line whose other fields are wrong, if it can.
func idOf(raw []byte) string {
	var in struct {
		WaybillID string `json:"waybill_id"`
	}
	_ = json.Unmarshal(raw, &in) // what is wrong is told already
	return cut(string(scan.NormalizeWaybill(in.WaybillID)), snapshot.MaxWaybillID)
}

func jsonProblem(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Sprintf("%s: a JSON %s is the wrong type", wrong.Field, strings.Fields(wrong.Value + " value")[0])
	}
	return "not a JSON object"
}

func badID(id scan.WaybillID) error {
	switch {
	case id == "":
		return errors.New("waybill_id is missing")
	case len(id) > snapshot.MaxWaybillID:
		return fmt.Errorf("waybill_id is longer than %d bytes", snapshot.MaxWaybillID)
	case strings.ContainsFunc(string(id), func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return errors.New("waybill_id has a space or a control character in it")
	}
	return nil
}

// flush stores what was collected; on disk when it returns nil.
func (i *importer) flush() error {
	gained, err := i.c.o.Snapshot.Import(i.ctx, i.batch)
	if err != nil {
		return err
	}
	i.c.waiting.arrived(gained...)
	i.out.Stored += len(i.batch)
	i.c.meters.imported.Add(len(i.batch))
	i.batch = i.batch[:0]
	i.alive()
	return nil
}

func (i *importer) reject(line int, id, why string) {
	i.c.meters.rejected.Inc()
	if len(i.out.Rejected) >= maxRejected {
		i.out.More++
		return
	}
	i.out.Rejected = append(i.out.Rejected, rejected{Line: line, WaybillID: cut(id, snapshot.MaxWaybillID), Error: why})
}
