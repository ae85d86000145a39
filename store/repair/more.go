package repair

import (
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/format"
)

// HasMore reports whether a file that was set aside of a segment holds something
// that the segment lacks. It reads hardly more than that.
func HasMore(s Segment, lacks *format.Rebuilt, aside string) (more bool) {
	tree, err := boltpage.OpenTree(aside)
	if err != nil {
		return false
	}
	defer tree.Close()
	for _, l := range lacks.Lost {
		for seq := l.From; seq <= l.To && !more; seq++ {
			err := tree.View(func(r boltpage.Reader) error {
				key := codec.Key(seq)
				_, err := s.Cipher.Decrypt(crypt.EventRecord, key, r.Bucket(format.BucketEvents).Get(key), nil)
				if err != nil {
					_, err = s.Cipher.Decrypt(crypt.CarriedRecord, key, r.Bucket(format.BucketCarried).Get(key), nil)
				}
				more = err == nil
				return nil
			})
			if err != nil {
				seq = l.To // the others of the run stand beside it
			}
		}
	}
	if more || lacks.Notes == 0 {
		return more
	}
	now, err := boltpage.OpenTree(s.Path)
	if err != nil {
		return false
	}
	defer now.Close()
	return notes(tree) > notes(now)
}

// notes counts the notes of a file, as far as they can be read.
func notes(t *boltpage.Tree) (n int) {
	_ = t.View(func(r boltpage.Reader) error {
		c := r.Bucket(format.BucketNotes).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if _, err := codec.DecodeNote(k, v); err == nil {
				n++
			}
		}
		return nil
	})
	return n
}
