package order

import (
	"strings"
	"unicode"

	"scanrelay/configs/secret"
)

// Bounds.
const (
	MaxOpen   = 16   // orders of a depot
	MaxEvents = 1000 // of one order
	MaxText   = 200  // characters of a reason, or of an error
	maxID     = 64   // bytes of an order's name
)

// What an order asks for. An agent that does not know it says so.
const (
	Retry   = "retry"   // dead letters are to be pushed again
	Discard = "discard" // they end for good
)

// Order is one. It comes with each answer until the depot has said what became of it; to
// do it twice must change nothing.
type Order struct {
	ID     string   `json:"id"`
	Do     string   `json:"do"`
	Events []string `json:"events,omitempty"` // ids, as status and deadletter show them
	All    bool     `json:"all,omitempty"`    // instead of Events: all dead letters there are
	Reason string   `json:"reason,omitempty"`
}

// Done is what became of an order.
type Done struct {
	ID    string `json:"id"`
	Count int64  `json:"count"`           // of events that it changed
	Error string `json:"error,omitempty"` // why it was not done, or not wholly
}

// Bounded is what of a list can be the centre's orders.
func Bounded(list []Order) []Order {
	kept := list[:0]
	for _, o := range list[:min(len(list), MaxOpen)] {
		if o.ID == "" || len(o.ID) > maxID || len(o.Events) > MaxEvents {
			continue
		}
		o.Reason = line(o.Reason) // an operator's words, which are kept as those of one here
		kept = append(kept, o)
	}
	return kept
}

// Words are what an error says, as the other side may show it.
func Words(text string) string { return secret.Foreign(line(text)) }

// line is a text of one line, of bounded length.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if r := []rune(s); len(r) > MaxText {
		s = string(r[:MaxText]) + "…"
	}
	return strings.TrimSpace(s)
}
