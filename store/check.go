package store

import (
	"fmt"
	"path/filepath"

	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/format"
	"scanrelay/store/quarantine"
	"scanrelay/store/repair"
)

// FileReport is what an inspection of one file found.
type FileReport = repair.Report

// CheckReport is what Check found.
type CheckReport struct {
	Files []*FileReport
	// Aside names what earlier starts found damaged and set aside.
	Aside []string
	// Problems are those of the outbox as a whole.
	Problems []string
	Counts   Counts
}

// Good reports whether nothing is wrong.
func (r *CheckReport) Good() bool {
	for _, f := range r.Files {
		if len(f.Problems) > 0 {
			return false
		}
	}
	return len(r.Problems) == 0
}

// Check verifies everything in an outbox that no agent holds: each page, each
// record's checksum and encryption, the numbers from file to file, and the
// counts against a recount. It changes nothing. ErrInUse: an agent has it;
// ErrKey, ErrNewer: it cannot be read at all.
func Check(dir string) (*CheckReport, error) {
	r := &CheckReport{}
	if err := r.files(dir); err != nil {
		return nil, fmt.Errorf("check outbox: %w", err)
	}
	r.sequence()
	reader, err := OpenReadOnly(dir)
	if err != nil {
		r.problem("it cannot be opened: %v", err)
		return r, nil
	}
	r.Counts = reader.Counts()
	r.counts(reader)
	return r, reader.Close()
}

func (r *CheckReport) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// files inspects each file by itself.
func (r *CheckReport) files(dir string) error {
	lock, err := durable.LockShared(filepath.Join(dir, lockName))
	if err != nil {
		return err
	}
	defer lock.Release()
	numbers, err := format.List(dir)
	if err != nil {
		return err
	}
	keys, err := crypt.Open(dir, true, !crypt.Exists(dir))
	if err != nil {
		return err
	}
	if !keys.Whole() {
		r.problem("one of the two copies in %s is damaged, or there is none", crypt.FileName)
	}
	if w := keys.Warning(); w != "" {
		r.problem("%s", w)
	}
	for _, n := range numbers {
		if err := r.file(dir, format.Name(n), keys.Cipher(n)); err != nil {
			return err
		}
	}
	if durable.Exists(filepath.Join(dir, quarantine.FileName)) {
		if err := r.file(dir, quarantine.FileName, keys.Cipher(crypt.QuarantineKey)); err != nil {
			return err
		}
	}
	aside, err := durable.Aside(dir, "")
	for _, path := range aside {
		r.Aside = append(r.Aside, filepath.Base(path))
	}
	return err
}

func (r *CheckReport) file(dir, name string, cipher *crypt.Cipher) error {
	f, err := repair.Inspect(filepath.Join(dir, name), cipher)
	if err != nil {
		return err
	}
	if f.Name = name; f.Format > codec.Version {
		return fmt.Errorf("%s: %w (format %d, this one knows %d)", name, ErrNewer, f.Format, codec.Version)
	}
	r.Files = append(r.Files, f)
	return nil
}

// sequence finds numbers that no segment holds.
func (r *CheckReport) sequence() {
	next := uint64(0)
	for _, f := range r.Files {
		if f.Name == quarantine.FileName {
			continue
		}
		if next != 0 && f.First > next {
			r.problem("events %v are in no file, before %s", repair.Span{From: next, To: f.First - 1}, f.Name)
		}
		next = max(f.First, f.Last+1)
	}
}

// counts compares what is stored with what was counted again.
func (r *CheckReport) counts(reader *Reader) {
	c := &r.Counts
	sum := uint64(0)
	for _, n := range c.State {
		sum += n
	}
	if sum != c.Received {
		r.problem("received is %d, but pending and outcomes are %d", c.Received, sum)
	}
	if c.Received != c.NextSeq-1 {
		r.problem("received is %d, but %d numbers were given", c.Received, c.NextSeq-1)
	}
	if c.Watermark >= c.NextSeq {
		r.problem("the watermark, %d, is above the last number, %d", c.Watermark, c.NextSeq-1)
	}
	segments := reader.journal.Segments()
	if last := segments[len(segments)-1].Last; c.NextSeq != last+1 {
		r.problem("the next number is %d, but the last event is %d", c.NextSeq, last)
	}
	if reader.journal.State().EpochOf(segments[0].First) == 0 {
		r.problem("the epoch of the oldest events is not known")
	}
	if what := reader.journal.VerifyCheckpoint(); what != "" {
		r.problem("the checkpoint is no good, and the next start reads all segments: %s", what)
	}
	if err := reader.index.Verify(); err != nil {
		r.problem("what is in memory does not agree with itself: %v", err)
	}
	for _, f := range r.Files {
		if f.Name == quarantine.FileName && reader.unread == "" && f.Rejects != c.Quarantined {
			r.problem("the quarantine says %d entries and holds %d", c.Quarantined, f.Rejects)
		}
	}
	if c.Damaged != "" {
		r.problem("damage: %s", c.Damaged)
	}
}
