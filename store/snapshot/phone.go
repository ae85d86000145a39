package snapshot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"scanrelay/agent/scan"
)

// phoneKey stands for a phone number in the files: eleven digits are guessed in
// seconds from a bare hash (depot.md, Law).
type phoneKey [16]byte

func keyOf(secret []byte, p scan.Phone) phoneKey {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(NormalizePhone(p.Reveal())))
	return phoneKey(mac.Sum(nil)[:16])
}

// NormalizePhone drops spaces, hyphens, parentheses and China's country code, so
// that one phone written in two ways is one phone.
func NormalizePhone(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -()\t", r) {
			return -1
		}
		return r
	}, s)
	for _, prefix := range []string{"+86", "0086"} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			return rest
		}
	}
	return s
}

// bindingValue is what is kept of a binding.
type bindingValue struct {
	exist bool
	at    int64 // unix seconds
}

func (v bindingValue) encode() []byte {
	var flag byte
	if v.exist {
		flag = 1
	}
	return binary.BigEndian.AppendUint64([]byte{flag}, uint64(v.at))
}

func decodeBinding(b []byte) (bindingValue, bool) {
	if len(b) != 9 {
		return bindingValue{}, false
	}
	return bindingValue{exist: b[0] != 0, at: int64(binary.BigEndian.Uint64(b[1:]))}, true
}
