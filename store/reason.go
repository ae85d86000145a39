package store

import (
	"encoding/base64"
	"errors"
	"strings"
)

// sealedReason begins a note's reason that is encrypted. It is text, so that a
// release that knows nothing of it shows it as it is.
const sealedReason = "sealed:"

// reasonGone stands for a reason whose key is gone.
const reasonGone = "the reason cannot be decrypted"

var errReason = errors.New(reasonGone)

// private reports whether a note's reason is in words that are not the
// program's: a person typed it, or WeChat said it. They may name somebody, so
// they are sealed under the segment's key and go with it. The reasons of other
// outcomes are the program's own; most have none.
func (n *note) private() bool {
	own := n.kind == noteOutcome && n.outcome != Discarded && n.outcome != Dead
	return !own && n.last.Reason != ""
}

func (s *sealer) sealReason(key []byte, reason string) string {
	salt := newSalt()
	sealed := s.aead().Seal(salt[:], nonce(kindReason, key, salt[:]), []byte(reason), nil)
	return sealedReason + base64.RawStdEncoding.EncodeToString(sealed)
}

// openReason decrypts the reason of a note read from this segment, if it is
// sealed: earlier releases wrote all in clear.
func (s *sealer) openReason(key uint64, n *note) error {
	text, ok := strings.CutPrefix(n.last.Reason, sealedReason)
	if !ok || !n.private() {
		return nil
	}
	sealed, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(sealed) < saltSize+tagSize {
		return nil // somebody typed this, in clear
	}
	n.last.Reason = reasonGone
	if s == nil {
		return errReason
	}
	plain, err := s.aead().Open(nil, nonce(kindReason, seqKey(key), sealed[:saltSize]), sealed[saltSize:], nil)
	if err != nil {
		return errReason
	}
	n.last.Reason = string(plain)
	return nil
}

// reasonWeight is what a note's reason takes.
func (n *note) reasonWeight() int {
	size := min(len(n.last.Reason), maxReason)
	if n.private() {
		size = len(sealedReason) + base64.RawStdEncoding.EncodedLen(saltSize+size+tagSize)
	}
	return size
}
