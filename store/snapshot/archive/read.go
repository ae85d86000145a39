package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"strconv"
	"strings"

	"scanrelay/store/durable"
)

// ErrForeign: it is no archive.
var ErrForeign = errors.New("this is no backup of a centre (or it is packed: unpack it first)")

// Sink takes what an archive holds. What it is given is good only within the call.
type Sink interface {
	Begin(Head) error
	Bucket(file, bucket string) error
	Record(key, value []byte) error // of that bucket; keys rise
	File(name string) error
	Data(b []byte) error // of that file
}

// Read gives an archive to a sink, which must not believe that it is whole before
// Read has returned nil. ErrForeign, durable.ErrNewer or durable.ErrDamaged, which a
// cut one is, tell what is wrong with it; other errors are the sink's or r's.
func Read(r io.Reader, to Sink) (Summary, error) {
	p := parser{r: bufio.NewReaderSize(r, 32<<10), to: to, Summary: Summary{Parts: map[string]Count{}}}
	err := p.first()
	for err == nil && !p.ended {
		err = p.next()
	}
	if err == nil {
		if _, more := p.r.ReadByte(); more == nil {
			err = damaged("something follows its end")
		} else if !errors.Is(more, io.EOF) {
			err = more
		}
	}
	return p.Summary, err
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: the backup is damaged or cut off: %s", durable.ErrDamaged, fmt.Sprintf(format, args...))
}

type parser struct {
	Summary
	r     *bufio.Reader
	to    Sink
	sum   uint32
	begun bool // the head was read
	ended bool
	in    byte   // kindBucket or kindFile; 0: nothing began
	part  string // which
	key   []byte // of the last record in it
}

// first reads the line that names form and version.
func (p *parser) first() error {
	line, err := p.r.Peek(len(firstLine))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if string(line) != firstLine {
		return ErrForeign
	}
	text := make([]byte, 0, 16)
	_, _ = p.r.Discard(len(firstLine)) // it was peeked
	for len(text) < cap(text) {
		b, err := p.r.ReadByte()
		if err != nil {
			return cutOff(err)
		}
		if b == '\n' {
			break
		}
		text = append(text, b)
	}
	switch v, err := strconv.ParseUint(string(text), 10, 32); {
	case err != nil || v == 0:
		return damaged("its first line")
	case v > version:
		return fmt.Errorf("%w (backup format %d, this one knows %d)", durable.ErrNewer, v, version)
	}
	return nil
}

// cutOff makes damage of an end that came too early.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it ends early")
	}
	return err
}

// next reads a frame.
func (p *parser) next() error {
	head := make([]byte, 5)
	if _, err := io.ReadFull(p.r, head); err != nil {
		return cutOff(err)
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxFrame {
		return damaged("a length that none has")
	}
	var content bytes.Buffer // grows with what comes, whatever the length says
	if _, err := io.CopyN(&content, p.r, int64(size)); err != nil {
		return cutOff(err)
	}
	var sum [4]byte
	if _, err := io.ReadFull(p.r, sum[:]); err != nil {
		return cutOff(err)
	}
	p.sum = crc32.Update(crc32.Update(p.sum, castagnoli, head), castagnoli, content.Bytes())
	if p.sum != binary.BigEndian.Uint32(sum[:]) {
		return damaged("a checksum is wrong")
	}
	return p.take(head[0], content.Bytes())
}

func (p *parser) take(kind byte, content []byte) error {
	switch {
	case kind == kindHead && !p.begun:
		p.begun = true
		if json.Unmarshal(content, &p.Head) != nil || p.StoreID == "" || p.At.IsZero() {
			return damaged("its head")
		}
		return p.to.Begin(p.Head)
	case kind == kindBucket && p.begun, kind == kindFile && p.begun:
		return p.begin(kind, string(content))
	case kind == kindRecords && p.in == kindBucket:
		return p.records(content)
	case kind == kindData && p.in == kindFile:
		p.count(0, len(content))
		return p.to.Data(content)
	case kind == kindEnd && p.begun:
		var e end
		if json.Unmarshal(content, &e) != nil || e.Records != p.Records || e.Bytes != p.Bytes {
			return damaged("its end tells of other content")
		}
		p.ended = true
		return nil
	}
	return damaged("a part that does not belong there")
}

// maxParts bounds the buckets and files of an archive.
const maxParts = 1000

// partName is the name of a file, and behind it the bucket's.
var partName = regexp.MustCompile(`^[a-z][a-z0-9.]{0,40}(/[a-z]{1,40})?$`)

func (p *parser) begin(kind byte, name string) error {
	_, again := p.Parts[name]
	file, bucket, ofBucket := strings.Cut(name, "/")
	if again || !partName.MatchString(name) || ofBucket != (kind == kindBucket) || len(p.Parts) == maxParts {
		return damaged("the name of a part")
	}
	p.in, p.part, p.key = kind, name, nil
	p.Parts[name] = Count{}
	if ofBucket {
		return p.to.Bucket(file, bucket)
	}
	return p.to.File(name)
}

func (p *parser) count(records, size int) {
	c := p.Parts[p.part]
	c.Records += uint64(records)
	c.Bytes += uint64(size)
	p.Parts[p.part] = c
	p.Records += uint64(records)
	p.Bytes += uint64(size)
}

func (p *parser) records(b []byte) error {
	for len(b) > 0 {
		key, rest, ok := text(b)
		value, rest, ok2 := text(rest)
		if !ok || !ok2 || len(key) == 0 || bytes.Compare(key, p.key) <= 0 {
			return damaged("records out of form")
		}
		p.count(1, len(key)+len(value))
		if err := p.to.Record(key, value); err != nil {
			return err
		}
		p.key = append(p.key[:0], key...)
		b = rest
	}
	return nil
}

// text takes a counted text off b.
func text(b []byte) (text, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size : size+int(n)], b[size+int(n):], true
}
