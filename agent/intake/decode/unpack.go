package decode

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
)

// ErrUnpacked: what is packed is more than it may be.
var ErrUnpacked = errors.New("unpacked it is too large")

// Unpack unpacks what begins as gzip or zlib does; how is "" for anything else. An
// ordinary text may begin as zlib does, so that counts only where all of it is.
func Unpack(b []byte, limit int) (plain []byte, how string, err error) {
	switch {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b, 8}):
		plain, err := gunzip(b, limit)
		return plain, "gzip", wrapUnpack("gzip", err)
	case len(b) > 6 && b[0]&0x8f == 8 && (int(b[0])<<8|int(b[1]))%31 == 0:
		r, err := zlib.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, "", nil
		}
		plain, err = readAll(r, limit)
		if err != nil && !errors.Is(err, ErrUnpacked) {
			return nil, "", nil
		}
		return plain, "zlib", wrapUnpack("zlib", err)
	default:
		return nil, "", nil
	}
}

// gunzip unpacks gzip, several of it one behind the other, and zeros behind it, as of a
// buffer that is sent whole.
func gunzip(b []byte, limit int) (plain []byte, err error) {
	in := bytes.NewReader(b)
	r, err := gzip.NewReader(in)
	for err == nil {
		r.Multistream(false)
		var more []byte
		if more, err = readAll(r, limit-len(plain)); err != nil {
			break
		}
		plain = append(plain, more...)
		if len(bytes.TrimLeft(b[len(b)-in.Len():], "\x00")) == 0 {
			break
		}
		err = r.Reset(in)
	}
	return plain, err
}

// Inflate unpacks deflate, which says by nothing that it is it.
func Inflate(b []byte, limit int) ([]byte, error) {
	plain, err := readAll(flate.NewReader(bytes.NewReader(b)), limit)
	return plain, wrapUnpack("deflate", err)
}

func wrapUnpack(how string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("unpack %s: %w", how, err)
}

func readAll(r io.Reader, limit int) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(plain) > limit {
		return nil, ErrUnpacked
	}
	return plain, err
}
