package link

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// What a guard lets through of a message that is too large, and of a packet that
// is no message.
const (
	passedOfLarge = 64 << 10
	maxControl    = 64 << 10
)

// MQTT's packet types that a guard knows, and its own answer to a ping.
const (
	packetPublish    = 3
	packetPingreq    = 12
	packetPingresp   = 13
	packetDisconnect = 14
)

var (
	pong = []byte{packetPingresp << 4, 0}

	errPacket = errors.New("the broker sends what is no MQTT")
)

// guard is a connection to a broker. paho allocates whatever length a packet
// announces, up to 256 MB, and a broker without a size limit of its
// own passes on what any device sends. So of a PUBLISH with a payload of more
// than most bytes only the beginning gets through, as a PUBLISH of its own; the
// rest is read and thrown away as it comes, never held. The message goes its way
// as one that is too large: into the quarantine, counted and acknowledged, since
// what is not acknowledged would come again for ever. The acknowledgement need
// not wait for the rest: on a line that breaks every few minutes a large message
// would come to its end never.
//
// While the rest passes, the broker's answer to a ping is stuck behind it, so the
// guard answers in its place: the bytes that come show that the link lives.
type guard struct {
	net.Conn
	most int64

	in   *bufio.Reader
	head []byte // goes out before what is passed on
	pass int64  // bytes of this packet that get through
	skip int64  // bytes of this packet that then don't

	pinged atomic.Bool // a ping is not answered yet

	mu    sync.Mutex
	sizes []int64 // of payloads that are passedOfLarge long here; guarded by mu
}

func newGuard(conn net.Conn, most int64) *guard {
	return &guard{Conn: conn, most: most, in: bufio.NewReaderSize(conn, 16<<10)}
}

// size returns how large a payload was before it was cut. It must be called once
// for each message, in the order in which they come.
func (g *guard) size(payload []byte) int64 {
	if len(payload) != passedOfLarge {
		return int64(len(payload))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.sizes) == 0 {
		return passedOfLarge
	}
	n := g.sizes[0]
	g.sizes = g.sizes[1:]
	return n
}

// Write implements net.Conn.
func (g *guard) Write(p []byte) (int, error) {
	if len(p) == 2 && p[0]>>4 == packetPingreq {
		g.pinged.Store(true)
	}
	return g.Conn.Write(p)
}

// Read implements net.Conn.
func (g *guard) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(g.head) == 0 && g.pass == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	if len(g.head) > 0 {
		n := copy(p, g.head)
		g.head = g.head[n:]
		return n, nil
	}
	n, err := g.in.Read(p[:min(int64(len(p)), g.pass)])
	g.pass -= int64(n)
	return n, err
}

// next throws away some of what is left of a packet, or begins the next one.
func (g *guard) next() error {
	if g.skip == 0 {
		return g.begin()
	}
	if g.pinged.CompareAndSwap(true, false) {
		g.head = pong
		return nil
	}
	if _, err := g.in.Peek(1); err != nil { // waits for what comes, and no longer
		return err
	}
	n, err := g.in.Discard(int(min(g.skip, int64(g.in.Buffered()))))
	g.skip -= int64(n)
	return err
}

// begin reads a packet's header and settles what of it gets through.
func (g *guard) begin() error {
	first, err := g.in.ReadByte()
	if err != nil {
		return err
	}
	length, err := g.length()
	if err != nil {
		return err
	}
	head := binary.AppendUvarint([]byte{first}, length) // MQTT's lengths are these
	switch kind := first >> 4; {
	case kind == packetPublish && length >= passedOfLarge:
		return g.publish(first, int64(length))
	case kind != packetPublish && length > maxControl:
		return fmt.Errorf("%w: a packet of type %d with %d bytes", errPacket, kind, length)
	case kind == packetPingresp:
		g.pinged.Store(false)
	}
	g.head, g.pass = head, int64(length)
	return nil
}

// length reads a packet's remaining length, of four bytes at most.
func (g *guard) length() (n uint64, err error) {
	for shift := 0; shift < 28; shift += 7 {
		b, err := g.in.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		if n |= uint64(b&0x7f) << shift; b < 0x80 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: a length of more than four bytes", errPacket)
}

// publish settles what of a PUBLISH that may be too large gets through.
func (g *guard) publish(first byte, length int64) error {
	var topic [2]byte
	if _, err := io.ReadFull(g.in, topic[:]); err != nil {
		return unexpected(err)
	}
	before := int64(len(topic)) + int64(binary.BigEndian.Uint16(topic[:])) // the payload
	if first&0x06 != 0 {
		before += 2 // the packet id, which QoS 0 has not
	}
	payload := length - before
	switch {
	case payload < 0:
		return fmt.Errorf("%w: a topic longer than its packet", errPacket)
	case payload > max(g.most, passedOfLarge):
		g.skip = payload - passedOfLarge
	}
	if kept := payload - g.skip; kept == passedOfLarge {
		g.mu.Lock()
		g.sizes = append(g.sizes, payload)
		g.mu.Unlock()
	}
	length -= g.skip
	g.head = append(binary.AppendUvarint([]byte{first}, uint64(length)), topic[:]...)
	g.pass = length - int64(len(topic))
	return nil
}

// unexpected is the end of the connection within a packet.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
