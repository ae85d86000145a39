package postgres

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// TestDocuments: of two who change the same one sees what the other has put; all of a
// change is written, or nothing.
func TestDocuments(t *testing.T) {
	o := database(t)
	one, two := open(t, o), open(t, o)
	ctx := t.Context()
	if doc, version, err := one.Document(ctx, "a/1"); doc != nil || version != 0 || err != nil {
		t.Errorf("none: %q %d %v", doc, version, err)
	}
	var lost atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		s := []*Store{one, two}[i%2]
		all.Go(func() {
			for {
				doc, version, err := s.Document(ctx, "a/1")
				if err != nil {
					t.Error(err)
					return
				}
				done, err := s.PutDocuments(ctx, []string{"a/1", fmt.Sprint("a/x", i)}, [][]byte{append(doc, 'x'), {'y'}}, []int64{version, 0})
				if err != nil {
					t.Error(err)
				}
				if done || err != nil {
					return
				}
				lost.Add(1)
			}
		})
	}
	all.Wait()
	if doc, version, err := two.Document(ctx, "a/1"); len(doc) != 20 || version != 20 || err != nil {
		t.Errorf("%d changes in version %d, %v", len(doc), version, err)
	}
	if done, err := one.PutDocuments(ctx, []string{"a/1", "b/1"}, [][]byte{{'z'}, {'z'}}, []int64{3, 0}); done || err != nil {
		t.Errorf("of an old version: %v %v", done, err)
	}
	var names []string
	for _, prefix := range []string{"a/x1", "b/"} {
		err := two.Documents(ctx, prefix, func(name string, _ []byte) error { names = append(names, name); return nil })
		if err != nil {
			t.Error(err)
		}
	}
	if len(names) != 11 || !slices.IsSorted(names) {
		t.Errorf("%v", names)
	}
	t.Logf("%d times somebody else was faster", lost.Load())
}
