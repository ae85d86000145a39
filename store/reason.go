package store

import (
	"encoding/base64"
	"errors"
	"strings"

	"scanrelay/store/codec"
	"scanrelay/store/event"
)

// sealedReason begins a note's reason that is encrypted. It is text, so that a
// release that knows nothing of it shows it as it is.
const sealedReason = "sealed:"

// reasonGone stands for a reason whose key is gone.
const reasonGone = "the reason cannot be decrypted"

var errReason = errors.New(reasonGone)

// encodeNote writes a note, its reason encrypted where it is private.
func (s *sealer) encodeNote(key []byte, n *event.Note) []byte {
	reason := codec.Cut(n.Last.Reason, codec.MaxReason)
	if n.Private() {
		reason = s.sealReason(key, reason)
	}
	return codec.EncodeNote(key, n, reason)
}

func (s *sealer) sealReason(key []byte, reason string) string {
	salt := newSalt()
	sealed := s.aead().Seal(salt[:], nonce(kindReason, key, salt[:]), []byte(reason), nil)
	return sealedReason + base64.RawStdEncoding.EncodeToString(sealed)
}

// openReason decrypts the reason of a note read from this segment, if it is
// sealed: earlier releases wrote all in clear.
func (s *sealer) openReason(key uint64, n *event.Note) error {
	text, ok := strings.CutPrefix(n.Last.Reason, sealedReason)
	if !ok || !n.Private() {
		return nil
	}
	sealed, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(sealed) < saltSize+tagSize {
		return nil // somebody typed this, in clear
	}
	n.Last.Reason = reasonGone
	if s == nil {
		return errReason
	}
	plain, err := s.aead().Open(nil, nonce(kindReason, codec.Key(key), sealed[:saltSize]), sealed[saltSize:], nil)
	if err != nil {
		return errReason
	}
	n.Last.Reason = string(plain)
	return nil
}

// reasonWeight is what a note's reason takes.
func reasonWeight(n *event.Note) int {
	size := min(len(n.Last.Reason), codec.MaxReason)
	if n.Private() {
		size = len(sealedReason) + base64.RawStdEncoding.EncodedLen(saltSize+size+tagSize)
	}
	return size
}
