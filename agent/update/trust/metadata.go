package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The roles of TUF, whose files are named after them.
const (
	Root      = "root"
	Timestamp = "timestamp"
	Snapshot  = "snapshot"
	Targets   = "targets"
)

// Errors that callers branch on.
var (
	// ErrRefused: what the repository gave is not to be trusted. Other errors are of
	// the way to it, and pass.
	ErrRefused = errors.New("refused")
	// ErrExpired: it was right once. It is refused, too.
	ErrExpired = fmt.Errorf("%w: expired", ErrRefused)
)

// refusal is an ErrRefused that says why in its own words.
type refusal struct{ why error }

func (r refusal) Error() string   { return r.why.Error() }
func (r refusal) Unwrap() []error { return []error{ErrRefused, r.why} }

func refuse(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// envelope is a file of metadata.
type envelope struct {
	Signatures []struct {
		KeyID string `json:"keyid"`
		Sig   string `json:"sig"`
	} `json:"signatures"`
	Signed json.RawMessage `json:"signed"`
}

// header is what the four roles have in common.
type header struct {
	Type    string `json:"_type"`
	Spec    string `json:"spec_version"`
	Version int64  `json:"version"`
	Expires string `json:"expires"`
}

func (h *header) head() *header { return h }

// until is when it expires; its form was looked at when it was read.
func (h *header) until() time.Time {
	t, _ := time.Parse(expiresLayout, h.Expires)
	return t
}

// expiresLayout is the one way to write a moment: others would be other bytes.
const expiresLayout = "2006-01-02T15:04:05Z"

type root struct {
	header
	Consistent bool           `json:"consistent_snapshot"`
	Keys       map[string]key `json:"keys"`
	Roles      map[string]struct {
		KeyIDs    []string `json:"keyids"`
		Threshold int      `json:"threshold"`
	} `json:"roles"`
}

type key struct {
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Value  struct {
		Public string `json:"public"`
	} `json:"keyval"`
}

// index is a timestamp, which names the snapshot, or a snapshot, which names the targets.
type index struct {
	header
	Meta map[string]file `json:"meta"`
}

// file is what one file of metadata says of another.
type file struct {
	Version int64             `json:"version"`
	Length  int64             `json:"length"`
	Hashes  map[string]string `json:"hashes"`
}

type targets struct {
	header
	Targets map[string]struct {
		Length int64             `json:"length"`
		Hashes map[string]string `json:"hashes"`
		Custom json.RawMessage   `json:"custom"`
	} `json:"targets"`
	Delegations json.RawMessage `json:"delegations"`
}

// role is the metadata of one of the four.
type role interface {
	head() *header
	valid() error
}

// read reads metadata of a role. Whoever signed it: that comes next.
func read(name string, data []byte, into role) (envelope, error) {
	var e envelope
	if err := exactly(data, &e); err != nil {
		return e, refuse("%s: %w", name, err)
	}
	for _, s := range e.Signatures {
		if _, err := hex.DecodeString(s.Sig); err != nil {
			return e, refuse("%s: signature under the key %.16s: %w", name, s.KeyID, err)
		}
	}
	if form, err := canonical(e.Signed); err != nil {
		return e, refuse("%s: what is signed: %w", name, err)
	} else if !bytes.Equal(form, e.Signed) {
		return e, refuse("%s: what is signed is not canonical", name)
	}
	if err := json.Unmarshal(e.Signed, into); err != nil {
		return e, refuse("%s: %w", name, err)
	}
	h := into.head()
	switch _, err := time.Parse(expiresLayout, h.Expires); {
	case h.Type != name:
		return e, refuse("%s: it is metadata of %q", name, h.Type)
	case h.Spec != "1" && !strings.HasPrefix(h.Spec, "1."):
		return e, refuse("%s: its specification is %q, this one knows 1", name, h.Spec)
	case h.Version < 1:
		return e, refuse("%s: its version is %d", name, h.Version)
	case err != nil:
		return e, refuse("%s: expires: %w", name, err)
	}
	if err := into.valid(); err != nil {
		return e, refuse("%s: %w", name, err)
	}
	return e, nil
}

func (r *root) valid() error {
	if !r.Consistent {
		return errors.New("has no consistent snapshots")
	}
	for id, k := range r.Keys {
		if _, err := k.public(); err != nil {
			return fmt.Errorf("key %.16s: %w", id, err)
		}
	}
	for _, name := range []string{Root, Timestamp, Snapshot, Targets} {
		role := r.Roles[name]
		if role.Threshold < 1 || len(role.KeyIDs) == 0 {
			return fmt.Errorf("role %s has %d keys and a threshold of %d", name, len(role.KeyIDs), role.Threshold)
		}
		for _, id := range role.KeyIDs {
			if _, ok := r.Keys[id]; !ok {
				return fmt.Errorf("role %s has the key %.16s, which is none of the keys", name, id)
			}
		}
	}
	return nil
}

func (k key) public() (ed25519.PublicKey, error) {
	if k.Type != "ed25519" || k.Scheme != "ed25519" {
		return nil, fmt.Errorf("is of type %q, scheme %q; only ed25519 is known", k.Type, k.Scheme)
	}
	b, err := unhex(k.Value.Public)
	if err == nil && len(b) != ed25519.PublicKeySize {
		err = fmt.Errorf("has %d bytes", len(b))
	}
	return b, err
}

// unhex reads hex that is written in one way.
func unhex(s string) ([]byte, error) {
	if s != strings.ToLower(s) {
		return nil, errors.New("hex in capital letters")
	}
	return hex.DecodeString(s)
}

// verify holds that enough keys of a role signed. A key counts once, under however
// many names it goes.
func (r *root) verify(name string, e envelope) error {
	signed := map[string]string{}
	for _, s := range e.Signatures {
		if _, twice := signed[s.KeyID]; twice {
			return refuse("%s: two signatures under the key %.16s", name, s.KeyID)
		}
		signed[s.KeyID] = s.Sig
	}
	role, good := r.Roles[name], map[string]bool{}
	for _, id := range role.KeyIDs {
		public, err := r.Keys[id].public()
		if err != nil {
			return refuse("%s: key %.16s: %w", name, id, err)
		}
		if sig, err := hex.DecodeString(signed[id]); err == nil && ed25519.Verify(public, e.Signed, sig) {
			good[string(public)] = true
		}
	}
	if len(good) < role.Threshold {
		return refuse("%s: signed by %d of the %d keys that it needs", name, len(good), role.Threshold)
	}
	return nil
}

func (i *index) valid() error {
	names := map[string]string{Timestamp: Snapshot + ".json", Snapshot: Targets + ".json"}
	f, ok := i.Meta[names[i.Type]]
	if !ok || len(i.Meta) != 1 {
		return fmt.Errorf("must name %s alone, and names %d files", names[i.Type], len(i.Meta))
	}
	if f.Version < 1 || f.Length < 1 {
		return fmt.Errorf("names a file of version %d, length %d", f.Version, f.Length)
	}
	return digest(f.Hashes)
}

// next is the file that it names.
func (i *index) next() file {
	for _, f := range i.Meta {
		return f
	}
	return file{}
}

// digest holds that there is a SHA-256, and no other hash that one reader would look
// at and another would not.
func digest(hashes map[string]string) error {
	b, err := unhex(hashes["sha256"])
	if err != nil || len(b) != sha256.Size || len(hashes) != 1 {
		return fmt.Errorf("hashes must be one of sha256, and are %d (%v)", len(hashes), slices.Sorted(maps.Keys(hashes)))
	}
	return nil
}

func (t *targets) valid() error {
	if len(t.Delegations) > 0 {
		return errors.New("delegates to others, which is not known here")
	}
	_, err := t.list()
	return err
}
