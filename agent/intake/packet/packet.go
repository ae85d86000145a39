package packet

import (
	"bufio"
	"fmt"
	"io"
)

// Type is the kind of a packet.
type Type byte

// Types of packets.
const (
	TypeConnect Type = iota + 1
	TypeConnack
	TypePublish
	TypePuback
	TypePubrec
	TypePubrel
	TypePubcomp
	TypeSubscribe
	TypeSuback
	TypeUnsubscribe
	TypeUnsuback
	TypePingreq
	TypePingresp
	TypeDisconnect
	TypeAuth
)

// Code is a reason as MQTT 5 numbers it.
type Code byte

// Reasons that this server gives.
const (
	Success            Code = 0
	NoSubscription     Code = 0x11
	Unspecified        Code = 0x80
	Malformed          Code = 0x81
	ProtocolError      Code = 0x82
	UnsupportedVersion Code = 0x84
	BadClientID        Code = 0x85
	BadLogin           Code = 0x86
	NotAuthorized      Code = 0x87
	Unavailable        Code = 0x88
	Busy               Code = 0x89
	ShuttingDown       Code = 0x8b
	BadAuthMethod      Code = 0x8c
	KeepAliveTimeout   Code = 0x8d
	TakenOver          Code = 0x8e
	BadFilter          Code = 0x8f
	BadTopic           Code = 0x90
	TooLarge           Code = 0x95
	QuotaExceeded      Code = 0x97
	topicAliasInvalid  Code = 0x94
)

// Versions of MQTT as they stand in CONNECT.
const (
	V31  = 3
	V311 = 4
	V5   = 5
)

// Error is why a connection cannot go on.
type Error struct {
	Code Code
	Text string
}

func (e *Error) Error() string { return e.Text }

func malformed(format string, args ...any) error {
	return &Error{Malformed, "malformed packet: " + fmt.Sprintf(format, args...)}
}

func violation(format string, args ...any) error {
	return &Error{ProtocolError, "protocol error: " + fmt.Sprintf(format, args...)}
}

// Header is what each packet begins with.
type Header struct {
	Type   Type
	Flags  byte
	Length int // of what follows
}

// ReadHeader reads the beginning of a packet.
func ReadHeader(r *bufio.Reader) (h Header, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return h, err
	}
	h.Type, h.Flags = Type(first>>4), first&0xf
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		switch {
		case err == io.EOF:
			return h, io.ErrUnexpectedEOF
		case err != nil:
			return h, err
		}
		h.Length |= int(b&0x7f) << shift
		switch {
		case b < 0x80:
			return h, h.check()
		case shift == 21:
			return h, malformed("a length of more than four bytes")
		}
	}
}

func (h Header) check() error {
	want := byte(0)
	switch h.Type {
	case 0:
		return malformed("type 0")
	case TypePublish:
		if h.Flags&6 == 6 {
			return malformed("QoS 3")
		}
		return nil
	case TypePubrel, TypeSubscribe, TypeUnsubscribe:
		want = 2
		if h.Flags&^8 == want { // 3.1 may send it again, with DUP
			return nil
		}
	}
	if h.Flags != want {
		return malformed("flags %#x of a packet of type %d", h.Flags, h.Type)
	}
	return nil
}
