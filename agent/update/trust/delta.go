package trust

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"

	"scanrelay/store/durable"
)

// A delta is the new program compressed by zstd with the old one as its dictionary.
const (
	// DictionaryID is the dictionary's.
	DictionaryID = 1
	// MaxProgram bounds a program that a delta starts from or leads to: both are held
	// in memory.
	MaxProgram = 32 << 20
	// MaxWindow is how far back a delta may reach: over both.
	MaxWindow = 2 * MaxProgram
	// deltaEnd ends the name of a delta beside the program that it becomes.
	deltaEnd = ".delta"
)

// viaDelta brings a target's file by a delta from the program at o.Base. It reports
// false where there is no such way, or it leads nowhere: then the whole file is brought.
func viaDelta(ctx context.Context, from Repository, t Target, to string, o Options) (done bool, err error) {
	if o.Base == "" || len(t.Deltas) == 0 || t.Length > MaxProgram || durable.Size(to) > 0 {
		return false, nil
	}
	base, err := readProgram(o.Base)
	if err != nil {
		return false, nil
	}
	i := slices.IndexFunc(t.Deltas, func(d Delta) bool { return d.FromSHA256 == sumOf(base) && d.Length < t.Length })
	if i < 0 {
		return false, nil
	}
	d, temp := t.Deltas[i], to+deltaEnd
	err = fetch(ctx, from, t.storedDelta(d), d.Length, d.SHA256, temp, roomFor(t.Length), o)
	if err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, fs.ErrNotExist) {
		return false, err // the line's fault: it goes on another time
	}
	if err == nil {
		err = apply(temp, base, t, to)
	}
	_ = os.Remove(temp) // what is left of it the next download replaces
	if err != nil {     // not there, or signed for and yet wrong: the whole file is another matter
		_ = os.Remove(to) // as is what became of it
		return false, nil
	}
	return true, nil
}

func (t Target) storedDelta(d Delta) string {
	c := t.custom()
	c.Delta = &Source{From: d.From}
	return Stored(c.Path(), d.SHA256)
}

func readProgram(path string) (content []byte, err error) {
	f, err := durable.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	content, err = io.ReadAll(io.LimitReader(f, MaxProgram+1))
	if len(content) > MaxProgram {
		err = fmt.Errorf("it is larger than %d bytes", MaxProgram)
	}
	return content, err
}

// apply writes what a delta makes of a program, and holds that it is the target's.
func apply(delta string, base []byte, t Target, to string) error {
	in, err := durable.Open(delta, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // read only
	z, err := zstd.NewReader(in, zstd.WithDecoderDictRaw(DictionaryID, base), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxWindow), zstd.WithDecoderMaxMemory(2*MaxWindow))
	if err != nil {
		return err
	}
	defer z.Close()
	out, err := durable.Open(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(z, t.Length+1))
	return cmp.Or(errors.Join(err, out.Sync(), out.Close()), t.Check(to))
}
