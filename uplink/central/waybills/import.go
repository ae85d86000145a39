package waybills

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/serve"
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

// Imported is the answer of POST /v1/waybills.
type Imported struct {
	Stored   int        `json:"stored"`
	Rejected []Rejected `json:"rejected"`
	// More is how many were rejected beyond those listed.
	More int `json:"more_rejected,omitempty"`
}

// Rejected tells what is wrong with one line, or with one element of an array,
// counted from 1.
type Rejected struct {
	Line      int    `json:"line"`
	WaybillID string `json:"waybill_id"`
	Error     string `json:"error"`
}

// Item is one line.
type Item struct {
	WaybillID string `json:"waybill_id"`
	syncapi.Waybill
}

// Store is what waybills are imported into and looked up in.
type Store interface {
	Import(ctx context.Context, items []snapshot.Import) ([]scan.WaybillID, error)
	Lookup(ctx context.Context, id scan.WaybillID) (snapshot.Waybill, bool, error)
}

// Waiting is told of waybills that had no data before.
type Waiting interface {
	Arrived(ctx context.Context, ids ...scan.WaybillID) error
}

// Options is what a Handler is made of.
type Options struct {
	Store   Store
	Waiting Waiting
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *metrics.Set
}

// Handler has both calls; only administrators may get to them.
type Handler struct {
	o                  Options
	imported, rejected *metrics.Counter
}

// New makes a Handler.
func New(o Options) *Handler {
	return &Handler{
		o: o, imported: o.Metrics.GetOrCreateCounter("scanrelay_central_waybills_imported_total"),
		rejected: o.Metrics.GetOrCreateCounter("scanrelay_central_waybills_rejected_total"),
	}
}

// Import is POST /v1/waybills.
func (h *Handler) Import(w http.ResponseWriter, r *http.Request) {
	body, err := importBody(r)
	if err != nil {
		serve.Fail(w, http.StatusBadRequest, err.Error())
		return
	}
	i := &importer{Handler: h, ctx: r.Context(), control: http.NewResponseController(w), out: Imported{Rejected: []Rejected{}}}
	i.alive()
	if err := i.read(bufio.NewReaderSize(body, maxLine)); err != nil {
		h.o.Logger.Error("import waybill data", "err", err, "stored", i.out.Stored)
		w.Header().Set("Retry-After", "5")
		serve.Fail(w, http.StatusServiceUnavailable,
			fmt.Sprintf("the centre cannot store waybill data now; the first %d good lines are stored, send all again", i.out.Stored))
		return
	}
	serve.JSON(w, http.StatusOK, i.out)
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
	*Handler
	ctx     context.Context
	control *http.ResponseController
	batch   []snapshot.Import
	out     Imported
}

// alive gives the client another while. Not every ResponseWriter can.
func (i *importer) alive() {
	_ = i.control.SetReadDeadline(time.Now().Add(importPause))
	_ = i.control.SetWriteDeadline(time.Now().Add(2 * importPause))
}

// read takes a JSON array or JSON lines. Its error is the store's; what is
// wrong with the body ends up in the answer.
func (i *importer) read(body *bufio.Reader) (err error) {
	if mark, err := body.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = body.Discard(3)
	}
	if firstByte(body) == '[' {
		err = i.array(body)
	} else {
		err = i.lines(body)
	}
	if err != nil {
		return err
	}
	return i.flush()
}

// firstByte is the first that is no white space, which stays: blank lines count.
func firstByte(body *bufio.Reader) byte {
	for n := 1; n <= maxLine; n++ {
		b, err := body.Peek(n)
		if err != nil {
			break
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
	var in Item
	if err := json.Unmarshal(raw, &in); err != nil {
		i.reject(n, idOf(raw), jsonProblem(err))
		return nil
	}
	id := scan.NormalizeWaybill(in.WaybillID)
	data := in.Scan()
	if err := errors.Join(badID(id), Unsound(&data, i.o.Now())); err != nil {
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
	return cut(string(scan.NormalizeWaybill(in.WaybillID)))
}

func jsonProblem(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Sprintf("%s: a JSON %s is the wrong type", wrong.Field, strings.Fields(wrong.Value + " value")[0])
	}
	return "not a JSON object"
}

func badID(id scan.WaybillID) error {
	switch why := snapshot.BadID(id); {
	case why != "":
		return errors.New(why)
	case strings.ContainsFunc(string(id), func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return errors.New("waybill_id has a space or a control character in it")
	}
	return nil
}

// MaxAhead is how far in the future a time may lie before it can only be a
// mistake; the clock rule of the depots is far stricter.
const MaxAhead = 24 * time.Hour

// Unsound tells what is wrong with waybill data; nil if nothing.
func Unsound(w *scan.Waybill, now time.Time) error {
	if w.CreateTime > now.Add(MaxAhead).Unix() {
		return errors.New("create_time lies in the future: it is in unix seconds")
	}
	return w.Validate()
}

// flush stores what was collected; on disk when it returns nil.
func (i *importer) flush() error {
	gained, err := i.o.Store.Import(i.ctx, i.batch)
	if err == nil {
		err = i.o.Waiting.Arrived(i.ctx, gained...)
	}
	if err != nil {
		return err
	}
	i.out.Stored += len(i.batch)
	i.imported.Add(len(i.batch))
	i.batch = i.batch[:0]
	i.alive()
	return nil
}

func (i *importer) reject(line int, id, why string) {
	i.rejected.Inc()
	if len(i.out.Rejected) >= maxRejected {
		i.out.More++
		return
	}
	i.out.Rejected = append(i.out.Rejected, Rejected{Line: line, WaybillID: cut(id), Error: why})
}

// cut keeps an answer from repeating more of a line than a number can be.
func cut(id string) string { return id[:min(len(id), snapshot.MaxWaybillID)] }
