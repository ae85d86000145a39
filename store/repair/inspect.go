package repair

import (
	"errors"
	"fmt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/format"
	"scanrelay/store/quarantine"
)

// Report is what an inspection of one file found.
type Report struct {
	Name    string `json:"file"`
	Format  uint64 `json:"format"`
	Events  uint64 `json:"events"`
	Carried uint64 `json:"carried"`
	Notes   uint64 `json:"notes"`
	Rejects uint64 `json:"rejects"`
	// Later counts notes of a kind that only a later release knows. They are
	// passed over, and are no damage.
	Later uint64 `json:"later_notes,omitempty"`
	First uint64 `json:"first,omitempty"`
	Last  uint64 `json:"last,omitempty"`
	// Metas is how many of the two meta pages are good. With one the last
	// commit was not completed, or it is gone.
	Metas    int      `json:"meta_pages"`
	Problems []string `json:"problems,omitempty"`
}

// maxProblems bounds what is said about one file.
const maxProblems = 20

func (r *Report) problem(format string, args ...any) {
	switch n := len(r.Problems); {
	case n < maxProblems:
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	case n == maxProblems:
		r.Problems = append(r.Problems, "and more")
	}
}

// inspector reads all of a file, without bbolt, and checks every record.
type inspector struct {
	r       *Report
	cipher  *crypt.Cipher
	scratch []byte
	next    uint64 // number of the next event; 0: not known yet
	state   format.State
	meta    bool
}

// Inspect checks every page and record of a segment or a quarantine.
func Inspect(path string, cipher *crypt.Cipher) (*Report, error) {
	in := &inspector{r: &Report{}, cipher: cipher}
	p, err := boltpage.Open(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	in.r.Metas = p.Metas
	p.Walk(in.visit, func(bucket, what string) {
		if bucket != "" {
			what = bucket + ": " + what
		}
		in.r.problem("%s", what)
	})
	if !in.meta {
		in.r.problem("the file's head is missing")
	}
	return in.r, nil
}

func (in *inspector) visit(bucket string, key, value []byte) {
	var err error
	switch bucket {
	case string(format.BucketMeta):
		err = in.head(key, value)
	case string(format.BucketState):
		err = in.state.Decode(key, value) // of the quarantine's only the frame
	case string(format.BucketEvents), string(format.BucketCarried), string(quarantine.BucketRejects):
		err = in.record(bucket, key, value)
	case string(format.BucketNotes):
		in.r.Notes++
		if len(key) != 8 {
			err = durable.ErrDamaged
		} else {
			err = in.note(key, value)
		}
	}
	if err != nil {
		in.r.problem("%s %x: %v", bucket, key, err)
	}
}

func (in *inspector) head(key, value []byte) error {
	if string(key) != string(codec.MetaKey) {
		_, err := codec.Unframe(key, value)
		return err
	}
	m, err := codec.DecodeFileMeta(value)
	in.meta = err == nil || errors.Is(err, durable.ErrNewer)
	in.r.Format, in.r.First = m.Format, m.First
	return err
}

func (in *inspector) note(key, value []byte) error {
	n, err := codec.DecodeNote(key, value)
	if err != nil {
		return err
	}
	if n.Foreign {
		in.r.Later++
	}
	return in.cipher.DecryptReason(codec.Seq(key), &n)
}

// record checks an event or a reject; an empty event marks one that was lost
// before.
func (in *inspector) record(bucket string, key, value []byte) error {
	if len(key) != 8 {
		return durable.ErrDamaged
	}
	kind, n := crypt.EventRecord, &in.r.Events
	switch bucket {
	case string(quarantine.BucketRejects):
		in.r.Rejects++
		_, err := quarantine.Decrypt(in.cipher, key, value)
		return err
	case string(format.BucketCarried):
		kind, n = crypt.CarriedRecord, &in.r.Carried
	default:
		in.sequence(codec.Seq(key))
	}
	if len(value) == 0 {
		return nil
	}
	*n++
	body, err := in.cipher.Decrypt(kind, key, value, in.scratch)
	if err != nil {
		return err
	}
	if cap(body) > cap(in.scratch) {
		in.scratch = body
	}
	_, err = codec.DecodeEvent(body)
	return err
}

func (in *inspector) sequence(seq uint64) {
	if in.next != 0 && seq != in.next {
		in.r.problem("events %v are missing", Span{From: in.next, To: seq - 1})
	}
	in.next, in.r.Last = seq+1, seq
}

// Check reads everything in a segment and says what is wrong first.
func Check(path string, cipher *crypt.Cipher) error {
	r, err := Inspect(path, cipher)
	if err == nil && len(r.Problems) > 0 {
		err = fmt.Errorf("%w: %s", durable.ErrDamaged, r.Problems[0])
	}
	return err
}
