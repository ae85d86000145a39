package crypt

import (
	"fmt"
	"path/filepath"
	"slices"

	"scanrelay/store/durable"
)

// takeCredential moves a store that has a key file to the credential that it is
// given: the segments' keys are encrypted anew, under the credential's key, and
// the key file is overwritten and removed, for nothing needs it any more. A
// crash in between leaves both keys, each good for one slot, and the next start
// goes on.
//
// A credential that is a copy of the key file protects nothing, since what was
// once on the flash may stay there; so nothing is removed, and it is said.
func (r *Ring) takeCredential(m *masters) error {
	path := filepath.Join(filepath.Dir(r.path), keyName)
	if m.credential == 0 || !durable.Exists(path) {
		return nil
	}
	if m.copied() {
		r.warning = keyName + " in the folder holds the same key as the credential " + credentialName + ", which protects nothing then: give a new key as the credential"
		return nil
	}
	// A slot may be under the file's key, or may only seem not to be: an earlier
	// move may have ended in a sync that failed.
	r.master = m.keys[0].AEAD()
	if err := r.save(); err != nil {
		return fmt.Errorf("move to the credential: %w", err)
	}
	r.whole = true
	if err := durable.Destroy(path); err != nil {
		return fmt.Errorf("move to the credential: %w", err)
	}
	r.warning = "the keys are under the credential " + credentialName + " from now on, and " + keyName + " was destroyed: keep a copy of the credential's key elsewhere"
	return nil
}

// copied reports whether one key is both the credential's and the file's.
func (m *masters) copied() bool {
	return slices.ContainsFunc(m.keys[:m.credential], func(a key) bool {
		return slices.ContainsFunc(m.keys[m.credential:], func(b key) bool { return *a.Reveal() == *b.Reveal() })
	})
}
