package archive

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// version is that of the form. The first line of an archive names it.
const version = 1

const firstLine = "scanrelay centre backup "

// Kinds of frames.
const (
	kindHead    = 'h'
	kindBucket  = 'b'
	kindRecords = 'r'
	kindFile    = 'f'
	kindData    = 'd'
	kindEnd     = 'e'
)

const (
	frameSize = 256 << 10 // above which a frame ends
	// maxFrame bounds what a frame may say of its length: a record is below 64 MiB.
	maxFrame = 65 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Head is what an archive says of itself.
type Head struct {
	StoreID   string    `json:"store_id"`
	At        time.Time `json:"at"`        // the moment that it shows
	Scanrelay string    `json:"scanrelay"` // the version that wrote it
	Size      int64     `json:"size"`      // bytes of the store's files then: about what follows
}

// Summary is what stood in an archive.
type Summary struct {
	Head
	Records uint64           // in buckets
	Bytes   uint64           // in buckets and files
	Parts   map[string]Count // by file/bucket, or file
}

// Count is how much stood in a bucket or file.
type Count struct{ Records, Bytes uint64 }

// end is the last frame's.
type end struct {
	Records uint64 `json:"records"`
	Bytes   uint64 `json:"bytes"`
}

// Writer writes an archive. Its first error is the one of all calls that follow.
type Writer struct {
	w       io.Writer
	version string
	sum     uint32
	kind    byte // of the frame that is filled
	frame   []byte
	end     end
	err     error
}

// NewWriter returns a Writer of a scanrelay of that version. Each frame is one Write,
// whose bytes w may keep.
func NewWriter(w io.Writer, version string) *Writer { return &Writer{w: w, version: version} }

// Begin writes the head.
func (w *Writer) Begin(storeID string, at time.Time, size int64) error {
	_, err := w.w.Write(fmt.Appendf(nil, "%s%d\n", firstLine, version))
	w.err = errors.Join(w.err, err)
	return w.json(kindHead, Head{StoreID: storeID, At: at.UTC().Truncate(time.Second), Scanrelay: w.version, Size: size})
}

// Bucket begins a bucket of a file.
func (w *Writer) Bucket(file, bucket string) error {
	return w.put(kindBucket, []byte(file+"/"+bucket))
}

// Record adds to the bucket that began last.
func (w *Writer) Record(key, value []byte) error {
	w.end.Records++
	w.end.Bytes += uint64(len(key) + len(value))
	w.kind = kindRecords
	w.frame = binary.AppendUvarint(w.frame, uint64(len(key)))
	w.frame = append(w.frame, key...)
	w.frame = binary.AppendUvarint(w.frame, uint64(len(value)))
	w.frame = append(w.frame, value...)
	if len(w.frame) >= frameSize {
		w.flush()
	}
	return w.err
}

// File adds a plain file of whole lines: what r has behind the last one is being
// written, and is left out. look, if set, has a look at the lines first: its error
// ends the copy.
func (w *Writer) File(name string, r io.Reader, look func(lines []byte) error) error {
	if err := w.put(kindFile, []byte(name)); err != nil {
		return err
	}
	var rest []byte
	for {
		block := make([]byte, frameSize)
		n, err := io.ReadFull(r, block)
		rest = append(rest, block[:n]...)
		whole := lines(rest)
		if look != nil {
			if bad := look(rest[:whole]); bad != nil {
				return fmt.Errorf("read %s: %w", name, bad)
			}
		}
		w.end.Bytes += uint64(whole)
		if whole > 0 && w.put(kindData, rest[:whole]) != nil {
			return w.err
		}
		rest = append([]byte(nil), rest[whole:]...)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read %s: %w", name, err)
		case len(rest) > maxFrame-frameSize:
			return fmt.Errorf("read %s: a line is longer than any", name)
		}
	}
}

// lines is how many bytes whole lines take.
func lines(b []byte) (n int) {
	for i := len(b); i > 0; i-- {
		if b[i-1] == '\n' {
			return i
		}
	}
	return 0
}

// End writes the end.
func (w *Writer) End() error { return w.json(kindEnd, w.end) }

func (w *Writer) json(kind byte, v any) error {
	text, err := json.Marshal(v)
	w.err = errors.Join(w.err, err)
	return w.put(kind, text)
}

// put writes a frame of its own.
func (w *Writer) put(kind byte, content []byte) error {
	w.flush()
	w.kind, w.frame = kind, append(w.frame, content...)
	w.flush()
	return w.err
}

// flush writes the frame that is filled.
func (w *Writer) flush() {
	if w.kind == 0 {
		return
	}
	out := make([]byte, 0, 9+len(w.frame))
	out = append(out, w.kind)
	out = binary.BigEndian.AppendUint32(out, uint32(len(w.frame)))
	out = append(out, w.frame...)
	w.sum = crc32.Update(w.sum, castagnoli, out)
	out = binary.BigEndian.AppendUint32(out, w.sum)
	w.kind, w.frame = 0, w.frame[:0]
	if w.err == nil {
		_, w.err = w.w.Write(out)
	}
}
