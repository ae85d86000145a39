package callback

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// readParams reads what WeChat puts into the URL. A parameter given twice is
// refused: the signature would cover one of them only.
func readParams(rawQuery string) (url.Values, error) {
	p, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, errors.New("query is malformed")
	}
	for _, name := range []string{"signature", "msg_signature", "timestamp", "nonce", "encrypt_type", "echostr"} {
		if len(p[name]) > 1 {
			return nil, fmt.Errorf("%s comes twice", name)
		}
	}
	return p, nil
}

// checkTime holds WeChat's timestamp against our clock. In plain mode it is
// what limits the reuse of a captured signature.
func (h *Handler) checkTime(p url.Values) error {
	if h.c.MaxSkew == 0 {
		return nil
	}
	seconds, err := strconv.ParseInt(p.Get("timestamp"), 10, 64)
	if err != nil {
		return errors.New("timestamp is no number")
	}
	// Sub saturates, so no timestamp overflows into the window.
	if off := h.c.Now().Sub(time.Unix(seconds, 0)); off > h.c.MaxSkew || off < -h.c.MaxSkew {
		return fmt.Errorf("timestamp is off by more than %v", h.c.MaxSkew)
	}
	return nil
}

var errSignature = errors.New("signature is wrong")

// checkSignature is the URL check's and plain mode's.
func (h *Handler) checkSignature(p url.Values) (*keys, error) {
	all := *h.keys.Load()
	for i := range all {
		if sameSignature(p.Get("signature"), Sign(all[i].token.Reveal(), p.Get("timestamp"), p.Get("nonce"))) {
			return &all[i], nil
		}
	}
	return nil, errSignature
}

// open checks a message against the configured mode and returns what is inside
// it, with the format and the keys that the reply must have.
func (h *Handler) open(p url.Values, body []byte) (message, format, *keys, error) {
	outer, form, err := decode(body)
	if err != nil {
		return nil, "", nil, err
	}
	if err := h.checkForm(p, outer); err != nil {
		return nil, "", nil, err
	}
	if !h.c.Mode.encrypted() { // signed, as was checked before the body was read
		k, err := h.checkSignature(p)
		if err != nil { // under a token that has gone meanwhile
			return nil, "", nil, err
		}
		return outer, form, h.found(k), nil
	}
	clear, k, err := h.decrypt(p, outer["Encrypt"])
	if err != nil {
		return nil, "", nil, err
	}
	inner, _, err := decode(clear)
	return inner, form, k, err
}

// decrypt opens a signed text with the first keys that do. The signature comes before
// the key: that is what keeps a padding oracle away.
func (h *Handler) decrypt(p url.Values, text string) (clear []byte, k *keys, err error) {
	all, err := *h.keys.Load(), errSignature
	for i := range all {
		k = &all[i]
		if !sameSignature(p.Get("msg_signature"), k.crypt.Sign(p.Get("timestamp"), p.Get("nonce"), text)) {
			continue
		}
		if clear, err = k.crypt.Decrypt(text); err == nil {
			return clear, h.found(k), nil
		}
	}
	return nil, nil, err
}

// checkForm refuses what has not the form of the configured mode: taking clear
// text in secure mode would let anybody who saw one signature ask anything.
func (h *Handler) checkForm(p url.Values, m message) error {
	var (
		cipher   = m["Encrypt"] != ""
		clear    = m["MsgType"] != "" || m["Event"] != ""
		encoding = p.Get("encrypt_type")
		aes      = encoding == "aes" || encoding == ""
	)
	switch h.c.Mode {
	case Plain:
		if _, has := m["Encrypt"]; has || encoding != "" && encoding != "raw" {
			return errors.New("message is encrypted, the mode is plain")
		}
	case Compat:
		if !cipher || !clear || !aes {
			return errors.New("message has not both parts, the mode is compat")
		}
	case Secure:
		if !cipher || clear || !aes {
			return errors.New("message is not encrypted only, the mode is secure")
		}
	}
	return nil
}
