package boltfile

import (
	"errors"
	"fmt"

	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot/values"
)

// Survey reads all of a file, page by page, and returns the runs of keys that
// cannot be read, or not be believed. With each, if set, the sound values are
// given.
func Survey(f *boltpage.File, name string, each func(bucket string, key, value []byte) error) (holes []*boltpage.Hole, err error) {
	used := make([]bool, f.High())
	r := f.Finder()
	r.Seen = func(id, pages uint64) {
		for i := id; i < min(id+pages, uint64(len(used))); i++ {
			used[i] = true
		}
	}
	var states uint64
	for _, b := range append(Buckets(name), Answers) {
		bucket := string(b)
		found := r.Sound(bucket, values.Check(bucket), func(k, v []byte) bool {
			if bucket == string(Waybills) {
				states += sumOf(v)
			}
			if each != nil {
				err = each(bucket, k, v)
			}
			return err == nil
		})
		if err != nil {
			return nil, err
		}
		if m, bad := ReadMeta(f); bucket == string(Waybills) && bad == nil && m.Sound() && len(found) == 0 && m.Get(MetaStates) != nil && m.Number(MetaStates) != states {
			found = append(found, &boltpage.Hole{Bucket: bucket, Err: errors.New("a page is as it was before: the disk did not write what it said to have written")})
		}
		holes = append(holes, found...)
	}
	return append(holes, unsound(f, used)...), nil
}

// unsound tells what is wrong with a file besides its keys.
func unsound(f *boltpage.File, used []bool) (holes []*boltpage.Hole) {
	wrong := func(format string, args ...any) {
		holes = append(holes, &boltpage.Hole{Low: []byte{0}, High: []byte{0}, Err: fmt.Errorf(format, args...)})
	}
	free, err := f.Free()
	if m, bad := ReadMeta(f); bad != nil {
		wrong("%w", bad)
	} else if !m.Sound() {
		wrong("bucket meta is not as it was written")
	}
	switch {
	case f.Metas == 0:
		wrong("both meta pages are damaged")
	case f.Metas == 1:
		wrong("a meta page is damaged: the last transaction may be lost")
	case err != nil:
		wrong("%w", err)
	}
	for _, id := range free {
		if used[id] {
			wrong("page %d is in use and listed as free", id)
			break
		}
	}
	return holes
}
