package waybills

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/serve"
	"scanrelay/configs/textfile"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/looks"
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
	// UnknownKeys are keys that nobody reads, of lines that were stored all the
	// same.
	UnknownKeys []string `json:"unknown_keys,omitempty"`
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
	// Children are the numbers on the parcels of a shipment of several.
	Children []string `json:"children,omitempty"`
	syncapi.Waybill
}

// Store is what waybills are imported into and looked up in.
type Store interface {
	Import(ctx context.Context, items []snapshot.Import) (snapshot.Imported, error)
	Lookup(ctx context.Context, id scan.WaybillID) (snapshot.Waybill, bool, error)
}

// Waiting is told of waybills that had no data before, and of parcels.
type Waiting interface {
	Arrived(ctx context.Context, ids ...scan.WaybillID) error
}

// Options is what a Handler is made of.
type Options struct {
	Store   Store
	Waiting Waiting
	Looks   *looks.Looks
	Lookups *looks.Lookups
	Retain  func() time.Duration // how long what does not change is kept
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *metrics.Set
}

// Handler has both calls. Who may make which is for the caller to see to: they change
// what depots push, and show what is personal.
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
		h.o.Logger.Error("import waybill data", "error", err, "stored", i.out.Stored)
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
	at      []int // where each of them stood
	size    int   // of the batch, with children
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

// array takes the elements of a JSON array, one at a time. Where the JSON itself
// is broken nothing after it can be read.
func (i *importer) array(body *bufio.Reader) error {
	_, _ = body.ReadBytes('[') // it was seen
	for n := 1; ; n++ {
		raw, long, end, err := element(body)
		blank := len(bytes.TrimSpace(raw)) == 0
		switch {
		case blank && n == 1 && end == ']':
			return nil
		case blank && err != nil:
			i.reject(n, "", "the array breaks off here")
			return nil
		case long:
			i.reject(n, "", fmt.Sprintf("the element is longer than %d bytes", maxLine))
		case err != nil && !json.Valid(raw):
			i.reject(n, "", "broken JSON: nothing from this element on was read")
			return nil
		default:
			if err := i.item(n, raw); err != nil {
				return err
			}
		}
		if err != nil {
			i.reject(n+1, "", "the array breaks off here")
		}
		if err != nil || end == ']' {
			return nil
		}
	}
}

// element reads up to and with the comma or the bracket that ends an element. Of
// one that does not fit in a line it reports only that.
func element(body *bufio.Reader) (raw []byte, long bool, end byte, err error) {
	depth, text, escaped := 0, false, false
	for {
		b, err := body.ReadByte()
		if err != nil {
			return raw, long, 0, err
		}
		switch {
		case escaped:
			escaped = false
		case text:
			escaped, text = b == '\\', b != '"'
		case b == '"':
			text = true
		case depth == 0 && (b == ',' || b == ']'):
			return raw, long, b, nil
		case b == '{' || b == '[':
			depth++
		case b == '}' || b == ']':
			depth--
		}
		if long = long || len(raw) == maxLine; !long {
			raw = append(raw, b)
		}
	}
}

// item takes one waybill.
func (i *importer) item(n int, raw []byte) error {
	if _, _, err := textfile.UTF8(raw); err != nil { // else the names would be garbled
		i.reject(n, "", "the line "+err.Error())
		return nil
	}
	var in Item
	if err := json.Unmarshal(raw, &in); err != nil {
		i.reject(n, idOf(raw), jsonProblem(err))
		return nil
	}
	id := scan.NormalizeWaybill(in.WaybillID)
	data := in.Scan()
	children, badChild := childrenOf(in.Children)
	if err := errors.Join(badID(id), Unsound(&data, i.o.Now()), badChild); err != nil {
		i.reject(n, string(id), strings.ReplaceAll(err.Error(), "\n", "; "))
		return nil
	}
	i.unknown(raw)
	i.batch = append(i.batch, snapshot.Import{Waybill: id, Data: data, Children: children})
	i.at = append(i.at, n)
	if i.size += 1 + len(children); i.size >= importBatch {
		return i.flush()
	}
	return nil
}

// childrenOf takes the numbers on a waybill's parcels, each once.
func childrenOf(numbers []string) (ids []scan.WaybillID, err error) {
	for _, number := range numbers {
		id := scan.NormalizeWaybill(number)
		if err := badID(id); err != nil {
			return nil, fmt.Errorf("children: %w", err)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
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
	case strings.ContainsRune(string(id), unicode.ReplacementChar):
		return errors.New("waybill_id has a character that is none (U+FFFD, or half of a pair)")
	}
	return nil
}

// MaxAhead is how far in the future a time may lie before it can only be a
// mistake; the clock rule of the depots is far stricter.
const MaxAhead = 24 * time.Hour

// minCreated is when times in unix seconds came to ten digits, in 2001.
const minCreated = 1_000_000_000

// Unsound tells what is wrong with waybill data; nil if nothing.
func Unsound(w *scan.Waybill, now time.Time) error {
	switch {
	case w.CreateTime > now.Add(MaxAhead).Unix():
		return errors.New("create_time lies in the future: it is in unix seconds")
	case w.CreateTime > 0 && w.CreateTime < minCreated:
		return errors.New("create_time lies before 2001: it is in unix seconds")
	}
	return errors.Join(w.Validate(), badParty("sender", &w.Sender), badParty("receiver", &w.Receiver))
}

func badParty(key string, p *scan.Party) error {
	errs := []error{badPhone(key+".phone", p.Phone)}
	for _, f := range []struct {
		name  string
		value scan.Private
	}{{"name", p.Name}, {"province", p.Province}, {"city", p.City}, {"area", p.Area}, {"street", p.Street}, {"address", p.Address}, {"id", p.ID}} {
		errs = append(errs, badText(key+"."+f.name, string(f.value)))
	}
	return errors.Join(errs...)
}

// badText tells what nobody can read: what decoding could make nothing of, as half of
// a pair, and control characters, but those in which an address may have lines.
func badText(key, text string) error {
	for _, r := range text {
		switch {
		case r == unicode.ReplacementChar:
			return fmt.Errorf("%s has a character that is none (U+FFFD, or half of a pair)", key)
		case unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r):
			return fmt.Errorf("%s has a control character", key)
		}
	}
	return nil
}

// badPhone tells a number that nobody can be reached under: WeChat would find no
// receiver, and the landing page nobody.
func badPhone(key string, p scan.Phone) error {
	digits := 0
	for _, r := range p.Reveal() {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r == '*':
			return fmt.Errorf("%s is masked: the whole number is needed", key)
		case !strings.ContainsRune(" \t+-()（）转,;#", r):
			return fmt.Errorf("%s has a character that no phone number has", key)
		}
	}
	if p != "" && digits < minDigits {
		return fmt.Errorf("%s has fewer than %d digits", key, minDigits)
	}
	return nil
}

// minDigits of a phone number: a fixed line without its area.
const minDigits = 7

// flush stores what was collected; on disk when it returns nil.
func (i *importer) flush() error {
	done, err := i.o.Store.Import(i.ctx, i.batch)
	if err == nil {
		err = i.o.Waiting.Arrived(i.ctx, done.Gained...)
	}
	if err != nil {
		return err
	}
	for _, r := range done.Refused {
		i.reject(i.at[r.Item], string(i.batch[r.Item].Waybill), r.Why)
	}
	stored := len(i.batch) - len(done.Refused)
	i.out.Stored += stored
	i.imported.Add(stored)
	i.batch, i.at, i.size = i.batch[:0], i.at[:0], 0
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
