package link

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"scanrelay/agent/intake/internal/intaketest"
)

// stream is a connection that holds what the other side sent.
type stream struct {
	net.Conn
	io.Reader
}

func (s stream) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s stream) Write(p []byte) (int, error) { return len(p), nil }

func bytesOf(t testing.TB, p packets.ControlPacket) []byte {
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Packets get through as they are, but for the end of large payloads, however the
// bytes come in.
func TestGuard(t *testing.T) {
	type want struct {
		kept, size int
		qos        byte
	}
	const most = 100_000
	chance := rand.New(rand.NewPCG(1, 2))
	var sent bytes.Buffer
	var wants []want
	for i, n := range []int{0, 5, passedOfLarge - 5, passedOfLarge - 4, passedOfLarge - 1, passedOfLarge, passedOfLarge + 1, most, most + 1, 3_000_000, passedOfLarge, 7, most + 1} {
		qos := byte(i % 3)
		sent.Write(bytesOf(t, intaketest.PublishPacket("scans/g", qos, uint16(i+1), i%2 == 0, strings.Repeat("x", n))))
		sent.Write(bytesOf(t, packets.NewControlPacket(packets.Pingresp)))
		kept := n
		if n > most {
			kept = passedOfLarge
		}
		wants = append(wants, want{kept, n, qos})
	}
	for name, in := range map[string]io.Reader{
		"at once": bytes.NewReader(sent.Bytes()), "by halves": iotest.HalfReader(bytes.NewReader(sent.Bytes())),
		"in pieces": pieces{bytes.NewReader(sent.Bytes()), chance},
	} {
		g := newGuard(stream{Reader: in}, most)
		for i, w := range wants {
			cp, err := packets.ReadPacket(g)
			p, ok := cp.(*packets.PublishPacket)
			if err != nil || !ok {
				t.Fatalf("%s, packet %d: %v, %v", name, i, cp, err)
			}
			if p.TopicName != "scans/g" || p.Qos != w.qos || p.Qos > 0 && p.MessageID != uint16(i+1) || p.Dup != (i%2 == 0) {
				t.Errorf("%s, packet %d: %s", name, i, p.FixedHeader)
			}
			if got := g.size(p.Payload); len(p.Payload) != w.kept || got != int64(w.size) {
				t.Errorf("%s, packet %d: %d bytes of %d, want %d of %d", name, i, len(p.Payload), got, w.kept, w.size)
			}
			if cp, err := packets.ReadPacket(g); err != nil || cp.(*packets.PingrespPacket) == nil {
				t.Fatalf("%s, behind packet %d: %v, %v", name, i, cp, err)
			}
		}
		if _, err := packets.ReadPacket(g); !errors.Is(err, io.EOF) || len(g.sizes) != 0 {
			t.Errorf("%s: at the end %v, %d sizes left", name, err, len(g.sizes))
		}
	}
}

// pieces reads a few bytes at a time.
type pieces struct {
	io.Reader
	chance *rand.Rand
}

func (p pieces) Read(b []byte) (int, error) {
	return p.Reader.Read(b[:min(len(b), 1+p.chance.IntN(9000))])
}

func TestGuardRefusesWhatIsNoMQTT(t *testing.T) {
	for name, sent := range map[string]string{
		"a length of five bytes":                "\x32\xff\xff\xff\xff\x01",
		"a topic longer than its packet":        "\x32\x80\x80\x04\xff\xff",
		"256 MB of what is no message":          "\x90\xff\xff\xff\x7f",
		"the end within a length":               "\x32\xff",
		"the end within a large message's head": "\x32\xff\xff\xff\x7f\x00",
		"the end within a large message":        "\x32\xff\xff\xff\x7f\x00\x01a\x00\x01yyy",
	} {
		cp, err := packets.ReadPacket(newGuard(stream{Reader: strings.NewReader(sent)}, 1<<20))
		if err == nil || !strings.HasPrefix(name, "the end") && !errors.Is(err, errPacket) || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v, %v", name, cp, err)
		}
	}
}

// FuzzGuard holds that what paho reads through a guard is what it would read
// without, but for the ends of large payloads, and that none gets through.
func FuzzGuard(f *testing.F) {
	f.Add([]byte("\x30\x07\x00\x01ayyyy\xd0\x00"), uint16(2))
	f.Add([]byte("\x32\x09\x00\x01a\x00\x01yyyy\xd0\x00"), uint16(3))
	f.Fuzz(func(t *testing.T, sent []byte, blown uint16) {
		if len(sent) > 2 && sent[0]>>4 == packetPublish { // make the first one large
			body := append(sent[2:min(len(sent), 12):min(len(sent), 12)], make([]byte, int(blown)*8)...)
			sent = slices.Concat(sent[:1], lengthOf(len(body)), body, sent[min(len(sent), 12):])
		}
		g := newGuard(stream{Reader: bytes.NewReader(sent)}, passedOfLarge)
		plain := bytes.NewReader(sent)
		for {
			got, err := packets.ReadPacket(g)
			want, wantErr := packets.ReadPacket(plain)
			if err != nil || wantErr != nil {
				if err == nil {
					t.Errorf("%v got through, want %v", got, wantErr)
				}
				return
			}
			p, ok := got.(*packets.PublishPacket)
			if !ok {
				continue
			}
			w := want.(*packets.PublishPacket)
			if len(p.Payload) > passedOfLarge || !bytes.HasPrefix(w.Payload, p.Payload) || g.size(p.Payload) != int64(len(w.Payload)) ||
				p.TopicName != w.TopicName || p.MessageID != w.MessageID {
				t.Errorf("got %s with %d bytes, want %s with %d", p.FixedHeader, len(p.Payload), w.FixedHeader, len(w.Payload))
			}
		}
	})
}

func lengthOf(n int) (b []byte) {
	for ; n > 0x7f; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}
