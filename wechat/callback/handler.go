package callback

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"scanrelay/configs/wait"
)

// Handler is WeChat's callback URL.
type Handler struct {
	c       Config
	keys    atomic.Pointer[[]keys]
	lookup  Lookup
	slots   chan struct{} // one in it per lookup under way
	refused wait.Rarely   // lines about refusals: a log on flash must not fill up
	strayed wait.Rarely   // lines about calls to other paths
	aged    wait.Rarely   // lines about calls under old secrets
}

// NewHandler makes the callback. Its error names all that is wrong with c.
func NewHandler(c Config, lookup Lookup) (*Handler, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configure callback: %w", err)
	}
	if lookup == nil {
		return nil, errors.New("configure callback: lookup is missing")
	}
	h := &Handler{
		c: c, lookup: lookup, slots: make(chan struct{}, c.MaxInFlight), refused: wait.Rarely{Every: time.Second},
		strayed: wait.Rarely{Every: time.Second}, aged: wait.Rarely{Every: agedEvery},
	}
	use, err := h.Prepare(c)
	if err != nil {
		return nil, err
	}
	use()
	return h, nil
}

// Format prints the mode only: fmt does not mask unexported fields by itself.
func (h *Handler) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "callback in %s mode", h.c.Mode) }

// ServeHTTP answers one call of WeChat's.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	a := h.serve(w, r)
	a.write(w)
	h.c.Observe(a.kind, a.code, time.Since(started))
}

// response is what a call gets, and how Observe is told.
type response struct {
	kind        string
	code        int // for Observe
	status      int
	contentType string
	body        []byte
}

const (
	typeText = "text/plain; charset=utf-8"
	typeJSON = "application/json; charset=utf-8"
	typeXML  = "application/xml; charset=utf-8"
)

func text(kind, body string) response {
	return response{kind: kind, code: http.StatusOK, status: http.StatusOK, contentType: typeText, body: []byte(body)}
}

// empty is an answer that says nothing but its status.
func empty(kind string, status int) response {
	return response{kind: kind, code: status, status: status}
}

func (a response) write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.contentType != "" {
		header.Set("Content-Type", a.contentType)
	}
	if a.status == http.StatusMethodNotAllowed {
		header.Set("Allow", "GET, POST")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(replyLimit))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // who does not take the answer asks again
}

// serve answers one call. Whatever does not verify looks the same.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) response {
	var (
		a   response
		err error
	)
	switch r.Method {
	case http.MethodGet:
		a, err = h.checkURL(r)
	case http.MethodPost:
		a, err = h.message(w, r)
	default:
		return empty(KindRefused, http.StatusMethodNotAllowed)
	}
	if err != nil {
		if more, due := h.refused.Due(time.Now()); due {
			h.c.Logger.Warn("callback: refused a call that does not verify", "reason", err, "not_logged_before", more)
		}
		return empty(KindRefused, http.StatusForbidden)
	}
	return a
}

// checkURL answers the console's check of the URL (wechat/README.md, URL check).
func (h *Handler) checkURL(r *http.Request) (response, error) {
	p, err := h.authentic(r)
	if err == nil {
		var k *keys
		if k, err = h.checkSignature(p); err == nil {
			h.found(k)
		}
	}
	if err == nil && p.Get("echostr") == "" {
		err = errors.New("echostr is missing")
	}
	return text(KindURLCheck, p.Get("echostr")), err
}

// authentic reads the URL's parameters and checks the time in them.
func (h *Handler) authentic(r *http.Request) (url.Values, error) {
	p, err := readParams(r.URL.RawQuery)
	if err != nil {
		return p, err
	}
	return p, h.checkTime(p)
}

// message answers a message (wechat/README.md, Modes).
func (h *Handler) message(w http.ResponseWriter, r *http.Request) (response, error) {
	// Set before anything can refuse: the server reads what is left of a body
	// before it sends an answer. It ends the limit itself with the body. Not
	// every writer has deadlines; the server's own then hold alone.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyLimit))
	p, err := h.authentic(r)
	if err == nil && !h.c.Mode.encrypted() {
		_, err = h.checkSignature(p) // nothing of a stranger's body is read
	}
	if err != nil {
		return response{}, err
	}
	body, err := readBody(w, r)
	if err != nil {
		return response{}, err
	}
	m, f, k, err := h.open(p, body)
	if err != nil {
		return response{}, err
	}
	if !m.isQuery() {
		return text(KindEvent, "success"), nil
	}
	return h.query(r, m, f, p.Get("nonce"), k.crypt), nil
}

// query answers a reverse lookup in the format, and under the keys, that it came in.
func (h *Handler) query(r *http.Request, m message, f format, nonce string, crypt *Crypt) response {
	a, asked := h.ask(r.Context(), m)
	body, err := h.encode(h.newReply(m, a), f, nonce, crypt)
	if err != nil {
		h.c.Logger.Error("callback: answer WeChat", "error", err)
		return empty(KindFailed, http.StatusInternalServerError)
	}
	out := response{kind: KindQuery, code: a.Code, status: http.StatusOK, contentType: typeJSON, body: body}
	if f == formatXML {
		out.contentType = typeXML
	}
	if !asked {
		out.kind = KindShed
	}
	return out
}

// readBody reads a body of bounded size.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, badBody("more than %d bytes", maxBody)
	}
	if err != nil {
		return nil, badBody("did not arrive whole")
	}
	return body, nil
}
