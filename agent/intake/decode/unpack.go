package decode

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"
)

// ErrUnpacked: what is packed is more than it may be.
var ErrUnpacked = errors.New("unpacked it is too large")

// Unpack unpacks what begins as gzip or zlib does, and deflate with the header of
// neither; how is "" for anything else. An ordinary text may begin as zlib does, so that
// counts only where all of it is; deflate begins with nothing, so what is no text has to
// become one. plain is what came out, also where it was in vain: it counts as work.
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
			return plain, "", nil
		}
		return plain, "zlib", wrapUnpack("zlib", err)
	case !utf8.Valid(b):
		plain, rest, err := inflate(b, limit)
		if err != nil && !errors.Is(err, ErrUnpacked) || err == nil && len(bytes.TrimLeft(rest, "\x00")) > 0 || !isText(plain) {
			return plain, "", nil
		}
		return plain, "deflate", wrapUnpack("deflate", err)
	default:
		return nil, "", nil
	}
}

// isText reports whether bytes are a text as devices send it, and more than blanks.
func isText(b []byte) bool {
	return len(Strip(b)) > 0 && utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\r' && r != '\n'
	})
}

// gunzip unpacks gzip, several of it one behind the other, and zeros behind it, as of a
// buffer that is sent whole.
func gunzip(b []byte, limit int) (plain []byte, err error) {
	in := bytes.NewReader(b)
	r, err := gzip.NewReader(in)
	for err == nil {
		r.Multistream(false)
		var more []byte
		more, err = readAll(r, limit-len(plain))
		plain = append(plain, more...)
		if err != nil || len(bytes.TrimLeft(b[len(b)-in.Len():], "\x00")) == 0 {
			break
		}
		err = r.Reset(in)
	}
	return plain, err
}

// Inflate unpacks deflate, which says by nothing that it is it.
func Inflate(b []byte, limit int) ([]byte, error) {
	plain, _, err := inflate(b, limit)
	return plain, wrapUnpack("deflate", err)
}

// inflate returns what stands behind it as well.
func inflate(b []byte, limit int) (plain, rest []byte, err error) {
	in := bytes.NewReader(b)
	r := inflaters.Get().(io.Reader)
	defer inflaters.Put(r)
	if err = r.(flate.Resetter).Reset(in, nil); err == nil {
		plain, err = readAll(r, limit)
	}
	return plain, b[len(b)-in.Len():], err
}

// inflaters are readers of deflate: one takes more room than most of what it reads.
var inflaters = sync.Pool{New: func() any { return flate.NewReader(bytes.NewReader(nil)) }}

func wrapUnpack(how string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("unpack %s: %w", how, err)
}

func readAll(r io.Reader, limit int) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(plain) > limit {
		return plain[:limit], ErrUnpacked
	}
	return plain, err
}
