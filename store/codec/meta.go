package codec

import (
	"fmt"
	"time"

	"scanrelay/store/durable"
)

// Where a file's meta stands.
var (
	MetaBucket = []byte("meta")
	MetaKey    = []byte("segment")
)

// FileMeta is written once, when a file is made.
type FileMeta struct {
	Format uint64 // version of the file
	Number uint64 // of the segment; 0: it is the quarantine
	First  uint64 // number of its first event
	Size   int64  // of the file, in bytes
	Begun  time.Time
}

// Encode frames it under MetaKey.
func (m *FileMeta) Encode() []byte {
	e := NewEncoder(32)
	e.Uint(m.Format)
	e.Uint(m.Number)
	e.Uint(m.First)
	e.Uint(uint64(m.Size))
	e.Time(m.Begun)
	return e.Frame(MetaKey)
}

// DecodeFileMeta reads what stands under MetaKey; nil: nothing does. Of a newer
// file, which is ErrNewer, only the format is known.
func DecodeFileMeta(value []byte) (m FileMeta, err error) {
	if value == nil {
		return m, fmt.Errorf("%w: no segment of an outbox", durable.ErrDamaged)
	}
	d, err := Decode(MetaKey, value)
	if err != nil {
		return m, err
	}
	if m.Format = d.Uint(); m.Format > Version {
		return m, fmt.Errorf("%w (format %d, this one knows %d)", durable.ErrNewer, m.Format, Version)
	}
	m.Number, m.First, m.Size, m.Begun = d.Uint(), d.Uint(), int64(d.Uint()), d.Time()
	return m, d.Done()
}
