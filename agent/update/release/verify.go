package release

import (
	"context"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"scanrelay/agent/update/trust"
	"scanrelay/store/durable"
)

// Verify looks at the repository as a gateway does that has never seen it, and as go-tuf
// does, and at every file that it names.
func (r Repository) Verify(ctx context.Context) (trust.Verified, error) {
	first, err := durable.ReadFile(r.path("1.root.json"))
	if err != nil {
		return trust.Verified{}, fmt.Errorf("read the first root: %w", err)
	}
	state, err := trust.NewState(first, r.now())
	if err != nil {
		return trust.Verified{}, err
	}
	v, err := trust.Verify(ctx, trust.Dir(r.Dir), state, r.now())
	if err != nil {
		return v, err
	}
	if _, err := r.secondOpinion(first); err != nil {
		return v, fmt.Errorf("verify with go-tuf: %w", err)
	}
	for _, t := range v.Targets {
		if _, err := r.stored(t); err != nil {
			return v, err
		}
	}
	return v, nil
}

// secondOpinion is go-tuf's.
func (r Repository) secondOpinion(first []byte) (*trustedmetadata.TrustedMetadata, error) {
	m, err := trustedmetadata.New(first)
	if err != nil {
		return nil, err
	}
	m.RefTime = r.now()
	read := func(role string, version int64) (data []byte) {
		if err == nil {
			data, err = durable.ReadFile(r.path(fileOf(role, version)))
		}
		return data
	}
	newest, err := r.newest(trust.Root)
	for n := int64(2); n <= newest && err == nil; n++ {
		if data := read(trust.Root, n); err == nil {
			_, err = m.UpdateRoot(data)
		}
	}
	if data := read(trust.Timestamp, 0); err == nil {
		_, err = m.UpdateTimestamp(data)
	}
	if err != nil {
		return nil, err
	}
	if data := read(trust.Snapshot, m.Timestamp.Signed.Meta["snapshot.json"].Version); err == nil {
		_, err = m.UpdateSnapshot(data, false)
	}
	if err != nil {
		return nil, err
	}
	if data := read(trust.Targets, m.Snapshot.Signed.Meta["targets.json"].Version); err == nil {
		_, err = m.UpdateTargets(data)
	}
	return m, err
}

// Resign is a timestamp signed anew by a centre that serves the repository and has that
// key alone: it names the same snapshot, with a version above its own and above the
// given one. Whoever verified it says so.
func Resign(timestamp []byte, k *Key, above int64, now time.Time, holds time.Duration) (text []byte, version int64, err error) {
	m, err := metadata.Timestamp().FromBytes(timestamp)
	if err != nil {
		return nil, 0, fmt.Errorf("sign timestamp anew: %w", err)
	}
	version = after(max(m.Signed.Version, above), now)
	m.Signed.Version, m.Signed.Expires = version, now.Add(holds).UTC().Truncate(time.Second)
	e, err := newEnvelope(m.Signed)
	if err != nil {
		return nil, 0, err
	}
	_, err = e.add(k)
	return e.bytes(), version, err
}
