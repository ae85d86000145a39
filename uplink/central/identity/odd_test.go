package identity

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/http"
	"testing"

	"scanrelay/uplink/syncapi"
)

// noStore takes nothing: a database does not take every text.
type noStore struct{ Store }

func (noStore) Update(context.Context, func(Tx) error) error { return errors.New("no text") }
func (noStore) View(context.Context, func(Tx) error) error   { return errors.New("no text") }

// TestOddDepots: for what can be no depot no store is asked, whose errors a stranger
// could fill the log with.
func TestOddDepots(t *testing.T) {
	s := &Service{o: Options{Store: noStore{}, Logger: slog.New(slog.DiscardHandler)}}
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	var refusal *Refusal
	req := syncapi.NewEnrol("a\x00b", key, "sre-x")
	_, err := s.Enrol(t.Context(), "", &req, "")
	if !errors.As(err, &refusal) || refusal.Status != http.StatusBadRequest {
		t.Errorf("enrol: %v", err)
	}
	if r, err := s.Registration(t.Context(), "a\x00b"); r != nil || err != nil {
		t.Errorf("look: %v, %v", r, err)
	}
}
