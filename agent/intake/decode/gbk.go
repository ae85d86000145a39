package decode

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// GBK returns a text in GBK as UTF-8; it may be in GB 2312 or ASCII, which are
// parts of it, or in GB 18030, of which it is one. False if something in it is no
// character.
func GBK(b []byte) ([]byte, bool) {
	text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(b)
	return text, err == nil && !bytes.ContainsRune(text, utf8.RuneError)
}
