package broker

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/intake/internal/intaketest"
)

// Devices that do whatever comes to their mind, under few client ids so that they throw
// each other out, good packets and bad ones: the broker goes on, holds nothing back in
// the end, and stops.
func TestDevicesThatDoAnything(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	j := intaketest.NewOutbox(t, 0)
	b, addr, stop := serveBroker(t, Config{
		MaxClients: 20, MaxPacket: 20000, connects: 1e6, Sessions: filepath.Join(t.TempDir(), SessionsName),
	}, j, Listener{})
	var all sync.WaitGroup
	for i := range uint64(8) {
		all.Go(func() {
			chance := rand.New(rand.NewPCG(seed, i))
			for range 60 {
				anything(addr, chance)
			}
		})
	}
	all.Wait()
	d := online(t, addr, 5, 2, "honest")
	d.publish(2, 1, intaketest.Payload("YT00000001"))
	d.expect("PUBREC", 0x50, 0, 1)
	intaketest.Eventually(t, "nothing waits", func() bool { return b.Status().Waiting == 0 && b.Status().Clients == 1 })
	b.sessions.sweep(time.Now().Add(2 * maxSessionLasts))
	if got, sessions := b.sessions.all.Load(), len(b.sessions.byID); got != 1 || sessions != 1 {
		t.Errorf("%d open publishes are remembered in %d sessions, of one", got, sessions)
	}
	stop()
}

// anything is one connection's life.
func anything(addr string, chance *rand.Rand) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(addr, "tcp://"))
	if err != nil {
		return
	}
	defer conn.Close()
	version := byte(3 + chance.IntN(3))
	props := func(p ...byte) string {
		if version < 5 {
			return ""
		}
		return string(append([]byte{byte(len(p))}, p...))
	}
	text := func(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }
	id := func() string { return string([]byte{0, byte(1 + chance.IntN(3))}) }
	pack := func(first byte, content string) string {
		if len(content) < 128 {
			return string([]byte{first, byte(len(content))}) + content
		}
		return string([]byte{first, byte(len(content)&127) | 128, byte(len(content) >> 7)}) + content
	}
	name, expiry := "MQTT", props(0x11, 0, 0, 0, byte(chance.IntN(3)*30))
	if version == 3 {
		name = "MQIsdp"
	}
	head := text(name) + string([]byte{version, byte(2 * chance.IntN(2)), 0, 10}) + expiry
	sent := pack(0x10, head+text(fmt.Sprint("gun-", chance.IntN(4))))
	for range chance.IntN(20) {
		body := intaketest.Payload(fmt.Sprintf("YT%08d", chance.IntN(50)))
		if chance.IntN(10) == 0 {
			body += strings.Repeat(" ", 16300)
		}
		switch qos := byte(chance.IntN(3)); chance.IntN(9) {
		case 0, 1, 2, 3:
			at := ""
			if qos > 0 {
				at = id()
			}
			sent += pack(0x30|qos<<1|byte(chance.IntN(2)*8), text("scans/g")+at+props()+body)
		case 4, 5:
			sent += pack(0x62, id())
		case 6:
			sent += pack(0x82, id()+props()+text("STATE/"+fmt.Sprint(chance.IntN(100)))+"\x01")
		case 7:
			sent += pack(0xa2, id()+props()+text("STATE/"+fmt.Sprint(chance.IntN(100))))
		case 8:
			sent += pack(0xc0, "")
		}
	}
	switch chance.IntN(4) {
	case 0:
		sent += pack(0xe0, "")
	case 1: // something is wrong somewhere
		wrong := []byte(sent)
		wrong[chance.IntN(len(wrong))] ^= byte(1 << chance.IntN(8))
		sent = string(wrong)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Duration(chance.IntN(30)) * time.Millisecond))
	_, _ = conn.Write([]byte(sent))
	_, _ = conn.Read(make([]byte, 1+chance.IntN(500)))
}
