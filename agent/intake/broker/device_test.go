package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/intake/internal/intaketest"
)

// device speaks any version of MQTT, byte by byte: what it sends may be wrong.
type device struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
	v  byte
}

func dial(t testing.TB, addr string, version byte) *device {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(addr, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &device{t, conn, bufio.NewReader(conn), version}
}

// send sends a packet of numbers, texts with their length, and bytes as they are.
func (d *device) send(first byte, fields ...any) {
	d.t.Helper()
	var content []byte
	for _, f := range fields {
		switch f := f.(type) {
		case byte:
			content = append(content, f)
		case uint16:
			content = binary.BigEndian.AppendUint16(content, f)
		case string:
			content = append(binary.BigEndian.AppendUint16(content, uint16(len(f))), f...)
		case []byte:
			content = append(content, f...)
		}
	}
	head := binary.AppendUvarint([]byte{first}, uint64(len(content)))
	if _, err := d.Write(append(head, content...)); err != nil {
		d.t.Fatalf("send %#x: %v", first, err)
	}
}

// end is what receive returns for the end of the connection.
const end = 0

// receive reads one packet.
func (d *device) receive() (first byte, content []byte) {
	d.t.Helper()
	if err := d.SetReadDeadline(time.Now().Add(intaketest.Patience)); err != nil {
		d.t.Fatal(err)
	}
	first, err := d.in.ReadByte()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		d.t.Fatal("nothing comes")
	}
	if err != nil {
		return end, nil
	}
	n, err := binary.ReadUvarint(d.in)
	content = make([]byte, n)
	if err == nil {
		_, err = io.ReadFull(d.in, content)
	}
	if err != nil {
		d.t.Fatalf("half a packet of type %#x: %v", first, err)
	}
	return first, content
}

// expect reads a packet that begins with these bytes.
func (d *device) expect(what string, first byte, begins ...byte) []byte {
	d.t.Helper()
	got, content := d.receive()
	if got != first || len(content) < len(begins) || string(content[:len(begins)]) != string(begins) {
		d.t.Fatalf("%s: got %#x % x, want %#x % x", what, got, content, first, begins)
	}
	return content
}

// props are properties with their length, where the version has them.
func (d *device) props(p ...byte) []byte {
	if d.v != 5 {
		return nil
	}
	return append([]byte{byte(len(p))}, p...)
}

// connect logs in; flags say whether with a clean session (2), name and password.
func (d *device) connect(flags byte, id string, props []byte, login ...any) {
	d.t.Helper()
	name := "MQTT"
	if d.v == 3 {
		name = "MQIsdp"
	}
	d.send(0x10, append([]any{name, d.v, flags, uint16(60), props, id}, login...)...)
}

// online is a device that is logged in.
func online(t testing.TB, addr string, version, flags byte, id string, props ...byte) *device {
	t.Helper()
	d := dial(t, addr, version)
	d.connect(flags, id, d.props(props...))
	if first, content := d.receive(); first != 0x20 || content[1] != 0 {
		t.Fatalf("%s is answered %#x % x", id, first, content)
	}
	return d
}

func (d *device) publish(qos byte, id uint16, body string, props ...byte) {
	d.t.Helper()
	fields := []any{"scans/g"}
	if qos > 0 {
		fields = append(fields, id)
	}
	d.send(0x30|qos<<1, append(fields, d.props(props...), []byte(body))...)
}

// lasting is a session expiry of an hour.
var lasting = []byte{0x11, 0, 0, 0x0e, 0x10}
