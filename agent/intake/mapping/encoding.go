package mapping

import (
	"bytes"

	"scanrelay/agent/intake/decode"
)

// byteOrderMark says that a text is in UTF-8, whatever encoding its source has.
const byteOrderMark = "\ufeff"

// toUTF8 returns the payload in UTF-8: from UTF-16 where its byte order mark says
// so, from GBK where the source does, else as it is. Nothing is guessed: bytes that
// could be both are not rare ("联通" in GBK is valid UTF-8).
func (j *job) toUTF8() *problem {
	text := decode.UTF8(j.payload)
	switch {
	case !j.src.gbk, len(text) != len(j.payload), bytes.HasPrefix(text, []byte(byteOrderMark)):
		j.payload = text
		return nil
	}
	text, ok := decode.GBK(text)
	if !ok {
		return problemf("not_gbk", "it is not GBK: if the device sends UTF-8, take encoding out of %s", j.src.name())
	}
	j.payload = text
	return nil
}

// inUTF8 marks a part of a message that was converted, so that it is not
// converted again when it is replayed.
func (j *job) inUTF8(part []byte) []byte {
	if !j.src.gbk || len(part) == 0 {
		return part
	}
	return append([]byte(byteOrderMark), part...)
}

// gbkHint tells whoever maps a device that sends what is no UTF-8.
func (s *source) gbkHint() string {
	if s.gbk {
		return "set the device to UTF-8 or GBK"
	}
	return "if the device sends GBK, give " + s.name() + " encoding: gbk"
}
