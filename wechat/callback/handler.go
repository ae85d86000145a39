package callback

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Handler is WeChat's callback URL.
type Handler struct {
	c      Config
	crypt  *Crypt // nil in plain mode
	lookup Lookup
	slots  chan struct{} // one in it per lookup under way
	refuse refusals
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
	h := &Handler{c: c, lookup: lookup, slots: make(chan struct{}, c.MaxInFlight)}
	h.refuse.log = c.Logger
	if c.Mode.encrypted() {
		if h.crypt, err = NewCrypt(c.Token, c.EncodingAESKey, c.AppID); err != nil {
			return nil, fmt.Errorf("configure callback: %w", err)
		}
	}
	return h, nil
}

// Format prints the mode only: fmt does not mask unexported fields by itself.
func (h *Handler) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "callback in %s mode", h.c.Mode) }

// ServeHTTP answers one call of WeChat's.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	v := h.judge(w, r)
	v.write(w)
	h.c.Observe(v.kind, v.code, time.Since(started))
}

// verdict is what a call came to.
type verdict struct {
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

func text(kind, body string) verdict {
	return verdict{kind: kind, code: http.StatusOK, status: http.StatusOK, contentType: typeText, body: []byte(body)}
}

// empty is an answer that says nothing but its status.
func empty(kind string, status int) verdict {
	return verdict{kind: kind, code: status, status: status}
}

func (v verdict) write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(v.body)))
	if v.contentType != "" {
		header.Set("Content-Type", v.contentType)
	}
	if v.status == http.StatusMethodNotAllowed {
		header.Set("Allow", "GET, POST")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(replyLimit))
	w.WriteHeader(v.status)
	_, _ = w.Write(v.body) // who does not take the answer asks again
}

// judge decides about one call. Whatever does not verify looks the same.
func (h *Handler) judge(w http.ResponseWriter, r *http.Request) verdict {
	var (
		v   verdict
		err error
	)
	switch r.Method {
	case http.MethodGet:
		v, err = h.checkURL(r)
	case http.MethodPost:
		v, err = h.message(w, r)
	default:
		return empty(KindRefused, http.StatusMethodNotAllowed)
	}
	if err != nil {
		h.refuse.note(err)
		return empty(KindRefused, http.StatusForbidden)
	}
	return v
}

// checkURL answers the console's check of the URL (wechat/README.md, URL check).
func (h *Handler) checkURL(r *http.Request) (verdict, error) {
	p, err := h.authentic(r)
	if err == nil {
		err = h.checkSignature(p)
	}
	if err == nil && p.echostr == "" {
		err = errors.New("echostr is missing")
	}
	return text(KindURLCheck, p.echostr), err
}

// authentic reads the URL's parameters and checks the time in them.
func (h *Handler) authentic(r *http.Request) (params, error) {
	p, err := readParams(r.URL.RawQuery)
	if err != nil {
		return p, err
	}
	return p, h.checkTime(p)
}

// message answers a message (wechat/README.md, Modes).
func (h *Handler) message(w http.ResponseWriter, r *http.Request) (verdict, error) {
	// Set before anything can refuse: the server reads what is left of a body
	// before it sends an answer. It ends the limit itself with the body. Not
	// every writer has deadlines; the server's own then hold alone.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyLimit))
	p, err := h.authentic(r)
	if err == nil && !h.c.Mode.encrypted() {
		err = h.checkSignature(p) // nothing of a stranger's body is read
	}
	if err != nil {
		return verdict{}, err
	}
	body, err := readBody(w, r)
	if err != nil {
		return verdict{}, err
	}
	m, f, err := h.open(p, body)
	if err != nil {
		return verdict{}, err
	}
	if !m.isQuery() {
		return text(KindEvent, "success"), nil
	}
	return h.query(r, &m, f, p.nonce), nil
}

// query answers a reverse lookup in the format it came in.
func (h *Handler) query(r *http.Request, m *message, f format, nonce string) verdict {
	a, asked := h.ask(r.Context(), m)
	body, err := h.encode(h.newReply(m, a), f, nonce)
	if err != nil {
		h.c.Logger.Error("callback: answer WeChat", "error", err)
		return empty(KindFailed, http.StatusInternalServerError)
	}
	v := verdict{kind: KindQuery, code: a.Code, status: http.StatusOK, contentType: typeJSON, body: body}
	if f == formatXML {
		v.contentType = typeXML
	}
	if !asked {
		v.kind = KindShed
	}
	return v
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
