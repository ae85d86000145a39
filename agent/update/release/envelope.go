package release

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

type signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// envelope is a file of metadata. What is signed stays the bytes that it was first.
type envelope struct {
	Signatures []signature     `json:"signatures"`
	Signed     json.RawMessage `json:"signed"`
}

// newEnvelope is of metadata that nobody has signed.
func newEnvelope(signed any) (*envelope, error) {
	body, err := cjson.EncodeCanonical(signed)
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	return &envelope{Signatures: []signature{}, Signed: body}, nil
}

func readEnvelope(data []byte) (*envelope, error) {
	e := &envelope{}
	if err := json.Unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	return e, nil
}

// bytes is the file. encoding/json would write what is signed otherwise.
func (e *envelope) bytes() []byte {
	list, _ := json.Marshal(e.Signatures) // texts alone
	return slices.Concat([]byte(`{"signatures":`), list, []byte(`,"signed":`), e.Signed, []byte(`}`))
}

// head is what all metadata has.
func (e *envelope) head() (h struct {
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
}) {
	_ = json.Unmarshal(e.Signed, &h) // who reads it whole tells what is wrong
	return h
}

// add signs, once for each key.
func (e *envelope) add(k *Key) (added bool, err error) {
	if slices.ContainsFunc(e.Signatures, func(s signature) bool { return s.KeyID == k.ID }) {
		return false, nil
	}
	s, err := k.sign(e.Signed)
	if err != nil {
		return false, err
	}
	e.Signatures = append(e.Signatures, s)
	slices.SortFunc(e.Signatures, func(a, b signature) int { return bytes.Compare([]byte(a.KeyID), []byte(b.KeyID)) })
	return true, nil
}

// lack is how many signatures a role still needs by a root, and the keys that may give
// them.
func (e *envelope) lack(root *metadata.RootType, role string) (need int, from []string) {
	r := root.Roles[role]
	if r == nil {
		return 1, nil
	}
	signed := map[string]string{}
	for _, s := range e.Signatures {
		signed[s.KeyID] = s.Sig
	}
	need = r.Threshold
	for _, id := range r.KeyIDs {
		public, _ := hex.DecodeString(root.Keys[id].Value.PublicKey)
		sig, _ := hex.DecodeString(signed[id])
		if len(public) == ed25519.PublicKeySize && ed25519.Verify(public, e.Signed, sig) {
			need--
		} else {
			from = append(from, id)
		}
	}
	if need <= 0 {
		return 0, nil
	}
	return need, from
}
