package trust

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// goTUF does what Verify does with go-tuf, as its updater goes about it.
func goTUF(files mem, s State, now time.Time) error {
	m, err := trustedmetadata.New(s.Root)
	if err != nil {
		return err
	}
	m.RefTime = now
	for {
		data, ok := files[fmt.Sprintf("%d.root.json", m.Root.Signed.Version+1)]
		if !ok {
			break
		}
		if _, err := m.UpdateRoot(data); err != nil {
			return err
		}
	}
	if s.Timestamp != nil {
		_, _ = m.UpdateTimestamp(s.Timestamp) // what the keys of today did not sign is no more
	}
	if _, err := m.UpdateTimestamp(files["timestamp.json"]); err != nil && !errors.Is(err, &metadata.ErrEqualVersionNumber{}) {
		return err
	}
	if s.Snapshot != nil {
		_, _ = m.UpdateSnapshot(s.Snapshot, true)
	}
	want := m.Timestamp.Signed.Meta["snapshot.json"].Version
	if m.Snapshot == nil || m.Snapshot.Signed.Version != want {
		if _, err := m.UpdateSnapshot(files[fmt.Sprintf("%d.snapshot.json", want)], false); err != nil {
			return err
		}
	}
	_, err = m.UpdateTargets(files[fmt.Sprintf("%d.targets.json", m.Snapshot.Signed.Meta["targets.json"].Version)])
	return err
}

// TestOracle makes repositories by chance, right ones and wrong ones, one after the
// other as a gateway would meet them. go-tuf and we say the same of each.
func TestOracle(t *testing.T) {
	accepted, refused, seeds := 0, 0, uint64(60)
	if testing.Short() {
		seeds = 15
	}
	for seed := range seeds {
		r := chance(seed)
		w := newWorld()
		state := w.seen(t)
		for n := range 6 {
			what := w.random(r.IntN)
			v, ours := Verify(t.Context(), w.files, state, time.Time{})
			theirs := goTUF(w.files, state, today)
			if (ours == nil) != (theirs == nil) {
				t.Fatalf("seed %d, step %d, %s: here %v, go-tuf %v", seed, n, what, ours, theirs)
			}
			if ours == nil {
				accepted++
			} else {
				refused++
			}
			state = v.State
		}
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
	if accepted < 30 || refused < 30 {
		t.Errorf("%d accepted and %d refused: both must be tried", accepted, refused)
	}
}

// random changes the world and publishes it.
func (w *world) random(n func(int) int) string {
	roles := []string{Root, Targets, Snapshot, Timestamp}
	role := roles[n(4)]
	expiry := map[int]string{0: earlier}
	w.expires = map[string]string{Root: later, Targets: later, Snapshot: later, Timestamp: later}
	w.signers = map[string][]ed25519.PrivateKey{}
	w.edit = map[string]func(object){}
	what := role + ": "
	switch n(12) {
	case 0:
		what += "expires"
		if e, ok := expiry[n(2)]; ok {
			w.expires[role] = e
		}
	case 1:
		what += "signed by a stranger"
		w.signers[role] = []ed25519.PrivateKey{newKey(200)}
	case 2:
		what += "signed by one more"
		w.signers[role] = append([]ed25519.PrivateKey{newKey(200)}, w.keys[role]...)
	case 3:
		what += "new keys"
		before := w.keys[Root]
		w.keys[role] = []ed25519.PrivateKey{newKey(byte(30 + n(60))), newKey(byte(100 + n(60)))}
		if n(3) == 0 {
			before = nil
		}
		w.rotate(before...)
		role = Targets
	case 4:
		what += "signed by the first alone"
		w.signers[role] = w.keys[role][:1]
	case 5:
		what += "an older version"
		if role != Root && w.version[role] > 1 {
			w.version[role] -= int64(1 + n(2))
			w.version[role] = max(w.version[role], 0)
		}
	case 6:
		what += "a far newer version"
		if role != Root {
			w.version[role] += int64(n(1000))
		}
	case 7:
		what += "of another role"
		w.edit[role] = func(o object) { o["_type"] = roles[n(4)] }
	case 8:
		what += "something unknown within"
		w.edit[role] = func(o object) { o["x-more"] = object{"a": []any{1, "é<&>", nil, true}} }
	case 9:
		what += "not told to the others"
		w.publish()
		w.version[Targets]--
		w.files[fmt.Sprintf("%d.targets.json", w.version[Targets]+1)] = w.sign(Targets, object{"targets": w.targets}, w.keys[Targets])
		return what
	}
	if role == Root {
		w.rotate()
	}
	w.publish()
	return what
}
