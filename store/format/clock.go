package format

import (
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
)

// anyBoot in place of a boot's name is any that has no clock of its own.
const anyBoot = ""

// bootClock resolves the clockless events of one boot, or of anyBoot, with
// numbers up to upTo.
type bootClock struct {
	boot string
	upTo uint64
	zero time.Time
	how  byte
}

// What a bootClock's zero is.
const (
	zeroOfBoot  byte = iota // moment 0 of the boot
	zeroForAll              // the time that all of them take
	zeroIfWrong             // the time of those whose own can't be; the clock kept time without anybody's help
)

func (s *State) writeBoots(e *codec.Encoder) {
	for _, b := range s.boots {
		e.Text(b.boot)
		e.Uint(b.upTo)
		e.Time(b.zero)
		e.Byte(b.how)
	}
}

func (s *State) readBoots(d *codec.Decoder) {
	s.boots = nil
	for d.More() {
		s.boots = append(s.boots, bootClock{boot: d.Text(), upTo: d.Uint(), zero: d.Time(), how: d.Byte()})
	}
}

// clockOf returns the clock that resolves an event of a boot. What was stored
// after a boot's clock became known, by a reader that had not heard of it, is
// resolved by the same one.
func (s *State) clockOf(boot string, seq uint64) (clock bootClock, ok bool) {
	var other bootClock
	for _, b := range s.boots {
		switch {
		case b.boot == anyBoot:
			if seq <= b.upTo && other.zero.IsZero() {
				other = b // the first that came after the event
			}
		case b.boot != boot:
		case seq <= b.upTo:
			return b, true
		case b.how == zeroOfBoot:
			clock, ok = b, true
		}
	}
	if !ok && !other.zero.IsZero() {
		return other, true
	}
	return clock, ok
}

// wall returns the wall time of a moment of the boot, when its clock told another.
func (b *bootClock) wall(since time.Duration, told time.Time) time.Time {
	switch {
	case b.how == zeroOfBoot:
		return b.zero.Add(since)
	case b.how == zeroIfWrong && scan.PlausibleTime(told.Unix(), b.zero):
		return told
	}
	return b.zero
}

// resolve applies the clock rule late: the time of arrival is known now, and an
// action_time that was provisional or turns out implausible becomes it.
func (b *bootClock) resolve(since time.Duration, told time.Time, action int64, m scan.Marks) (received time.Time, time int64, marks scan.Marks) {
	received = b.wall(since, told)
	if m.Has(scan.MarkClock) || !scan.PlausibleTime(action, received) {
		return received, received.Unix(), m | scan.MarkClock
	}
	return received, action, m
}

// Resolve gives a clockless event its wall times, if they are known.
func (s *State) Resolve(e *scan.Event, seq uint64) {
	if e.Clockless == nil {
		return
	}
	if b, ok := s.clockOf(e.Clockless.Boot, seq); ok {
		e.ReceivedAt, e.ActionTime, e.Marks = b.resolve(e.Clockless.Since, e.ReceivedAt, e.ActionTime, e.Marks)
		e.Clockless = nil
	}
}

// ResolveHead does so with the head of an event.
func (s *State) ResolveHead(h *codec.Head, seq uint64) {
	if !h.IsClockless() {
		return
	}
	if b, ok := s.clockOf(string(h.Boot), seq); ok {
		h.SetTimes(b.resolve(h.BootSince, h.Received, h.Time, h.Marks))
	}
}

// SetClock says when moment 0 of a boot was, for what it stored up to a number.
func (s *State) SetClock(boot string, zero time.Time, upTo uint64) {
	zero = zero.UTC().Truncate(time.Microsecond) // as it will be read
	s.boots = slices.DeleteFunc(s.boots, func(b bootClock) bool {
		return b.boot == boot && b.how == zeroOfBoot && b.zero.Equal(zero)
	})
	s.boots = append(s.boots, bootClock{boot: boot, upTo: upTo, zero: zero})
}

// FixOthers gives a time to what boots stored up to a number whose clocks nobody
// confirmed: the present one, or the one that it came with, if the clock is kept
// right without anybody's help and that time can be.
func (s *State) FixOthers(now time.Time, upTo uint64, kept bool) {
	how := zeroForAll
	if kept {
		how = zeroIfWrong
	}
	for _, b := range s.boots {
		if b.boot == anyBoot && b.upTo >= upTo {
			return
		}
	}
	s.boots = append(s.boots, bootClock{boot: anyBoot, upTo: upTo, zero: now, how: how})
}
