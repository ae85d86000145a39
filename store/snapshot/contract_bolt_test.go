package snapshot_test

import (
	"testing"
	"time"

	"scanrelay/store/snapshot"
)

// TestBoltContract holds the bbolt store to the contract, with a merger that is
// always at work and with one that hardly is.
func TestBoltContract(t *testing.T) {
	for name, o := range map[string]snapshot.Options{
		"merging at once": {MergeEvery: time.Millisecond, MergeRecords: 1},
		"merging late":    {MergeEvery: 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			testContract(t, func(t testing.TB, dir string, now func() time.Time) snapshot.Store {
				o := o
				o.Now = now
				s, err := snapshot.Open(dir, o)
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}
