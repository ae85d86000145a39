package bolt_test

import (
	"testing"
	"time"

	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/store/snapshot/snapshottest"
)

// TestBoltContract holds the bbolt store to the contract, with a merger that is
// always at work and with one that hardly is.
func TestBoltContract(t *testing.T) {
	for name, o := range map[string]bolt.Options{
		"merging at once": {MergeEvery: time.Millisecond, MergeRecords: 1},
		"merging late":    {MergeEvery: 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			snapshottest.Run(t, func(t testing.TB, now func() time.Time) func() snapshot.Store {
				o, dir := o, t.TempDir()
				o.Now = now
				return func() snapshot.Store {
					s, err := bolt.Open(dir, o)
					if err != nil {
						t.Fatal(err)
					}
					return s
				}
			})
		})
	}
}
