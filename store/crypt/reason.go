package crypt

import (
	"encoding/base64"
	"errors"
	"strings"

	"scanrelay/store/codec"
	"scanrelay/store/event"
)

// encryptedReason begins a note's reason that is encrypted. It is text, so that a
// release that knows nothing of it shows it as it is.
const encryptedReason = "sealed:"

// reasonGone stands for a reason whose key is gone.
const reasonGone = "the reason cannot be decrypted"

var errReason = errors.New(reasonGone)

// EncodeNote writes a note, its reason encrypted where it is private.
func (c *Cipher) EncodeNote(key []byte, n *event.Note) []byte {
	reason := codec.Cut(n.Last.Reason, codec.MaxReason)
	if n.Private() {
		reason = c.encryptReason(key, reason)
	}
	return codec.EncodeNote(key, n, reason)
}

func (c *Cipher) encryptReason(key []byte, reason string) string {
	salt := NewSalt()
	encrypted := c.aead().Seal(salt[:], nonce(reasonText, key, salt[:]), []byte(reason), nil)
	return encryptedReason + base64.RawStdEncoding.EncodeToString(encrypted)
}

// DecryptReason decrypts the reason of a note read from this segment, if it is
// encrypted: earlier releases wrote all in clear. If it cannot be, the reason
// says so, and so does the error.
func (c *Cipher) DecryptReason(key uint64, n *event.Note) error {
	text, ok := strings.CutPrefix(n.Last.Reason, encryptedReason)
	if !ok || !n.Private() {
		return nil
	}
	encrypted, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(encrypted) < saltSize+tagSize {
		return nil // somebody typed this, in clear
	}
	n.Last.Reason = reasonGone
	if c == nil {
		return errReason
	}
	plain, err := c.aead().Open(nil, nonce(reasonText, codec.Key(key), encrypted[:saltSize]), encrypted[saltSize:], nil)
	if err != nil {
		return errReason
	}
	n.Last.Reason = string(plain)
	return nil
}

// ReasonSize is what a note's reason takes, in bytes.
func ReasonSize(n *event.Note) int {
	size := min(len(n.Last.Reason), codec.MaxReason)
	if n.Private() {
		size = len(encryptedReason) + base64.RawStdEncoding.EncodedLen(saltSize+size+tagSize)
	}
	return size
}
