package callback

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// params is what WeChat puts into the URL.
type params struct {
	signature    string
	msgSignature string
	timestamp    string
	nonce        string
	encryptType  string
	echostr      string
}

// readParams reads the query. A parameter given twice is refused: the signature
// would cover one of them only.
func readParams(rawQuery string) (params, error) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return params{}, errors.New("query is malformed")
	}
	var p params
	for name, to := range map[string]*string{
		"signature": &p.signature, "msg_signature": &p.msgSignature, "timestamp": &p.timestamp,
		"nonce": &p.nonce, "encrypt_type": &p.encryptType, "echostr": &p.echostr,
	} {
		switch v := values[name]; len(v) {
		case 0:
		case 1:
			*to = v[0]
		default:
			return params{}, fmt.Errorf("%s comes twice", name)
		}
	}
	return p, nil
}

// checkTime holds WeChat's timestamp against our clock. In plain mode it is
// what limits the reuse of a captured signature.
func (h *Handler) checkTime(p params) error {
	if h.c.MaxSkew == 0 {
		return nil
	}
	seconds, err := strconv.ParseInt(p.timestamp, 10, 64)
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
func (h *Handler) checkSignature(p params) error {
	if !sameSignature(p.signature, Sign(h.c.Token.Reveal(), p.timestamp, p.nonce)) {
		return errSignature
	}
	return nil
}

// open checks a message against the configured mode and returns what is inside
// it, with the format that the reply must have.
func (h *Handler) open(p params, body []byte) (message, format, error) {
	outer, form, err := decode(body)
	if err != nil {
		return message{}, "", err
	}
	if err := h.checkForm(p, &outer); err != nil {
		return message{}, "", err
	}
	if !h.c.Mode.encrypted() {
		return outer, form, nil // its signature was checked before the body was read
	}
	if !sameSignature(p.msgSignature, h.crypt.Sign(p.timestamp, p.nonce, outer.Encrypt)) {
		return message{}, "", errSignature
	}
	clear, err := h.crypt.Decrypt(outer.Encrypt)
	if err != nil {
		return message{}, "", err
	}
	inner, _, err := decode(clear)
	return inner, form, err
}

// checkForm refuses what has not the form of the configured mode: taking clear
// text in secure mode would let anybody who saw one signature ask anything.
func (h *Handler) checkForm(p params, m *message) error {
	var (
		cipher = m.Encrypt != ""
		clear  = m.MsgType != "" || m.Event != ""
		aes    = p.encryptType == "aes" || p.encryptType == ""
	)
	switch h.c.Mode {
	case Plain:
		if cipher || m.seen["Encrypt"] || p.encryptType != "" && p.encryptType != "raw" {
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
