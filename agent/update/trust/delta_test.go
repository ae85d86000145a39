package trust

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// deltaOf is as a publisher makes one.
func deltaOf(t testing.TB, base, content []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderDictRaw(DictionaryID, base), zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(content, nil)
}

// counted counts what is opened.
type counted struct {
	mem
	names []string
}

func (c *counted) Open(ctx context.Context, name string, from int64) (io.ReadCloser, error) {
	c.names = append(c.names, name)
	return c.mem.Open(ctx, name, from)
}

// TestDelta: where the program is here that a delta starts from, the delta alone is
// brought; whatever is wrong with either, the whole file is.
func TestDelta(t *testing.T) {
	r := chance(3)
	old := make([]byte, 200_000)
	for i := range old {
		old[i] = byte(r.IntN(256))
	}
	next := append(bytes.Clone(old[1000:]), "and something new"...)
	delta := deltaOf(t, old, next)
	if len(delta) > len(next)/50 {
		t.Fatalf("the delta has %d bytes of %d", len(delta), len(next))
	}
	twice := deltaOf(t, old, append(bytes.Clone(next), next...))
	for name, c := range map[string]struct {
		base, delta, there []byte
		way                string // a delta: only that is brought
	}{
		"delta":                     {old, delta, nil, "delta"},
		"another program is here":   {next[:1000], delta, nil, "whole"},
		"no program is here":        {nil, delta, nil, "whole"},
		"a part is here already":    {old, delta, next[:500], "whole"},
		"delta of something else":   {old, deltaOf(t, old, []byte("else")), nil, "both"},
		"delta that becomes larger": {old, twice, nil, "both"},
		"delta that is none":        {old, []byte("none"), nil, "both"},
		"cut":                       {old, delta[:len(delta)/2], nil, "both"},
		"not there":                 {old, nil, nil, "both"},
	} {
		target := Target{Name: "scanrelay", Version: "1.1.0", OS: "linux", Arch: "arm64", Length: int64(len(next)), SHA256: hexSum(next)}
		d := Delta{From: "1.0.0", FromSHA256: hexSum(old), Length: max(int64(len(c.delta)), 1), SHA256: hexSum(c.delta)}
		target.Deltas = []Delta{d}
		files := &counted{mem: mem{target.Stored(): next}}
		if c.delta != nil {
			files.mem[target.storedDelta(d)] = c.delta
		}
		dir := t.TempDir()
		base, to := filepath.Join(dir, "base"), filepath.Join(dir, "file")
		if c.base != nil {
			put(t, base, c.base)
		}
		if c.there != nil {
			put(t, to, c.there)
		}
		if err := Fetch(t.Context(), files, target, to, Options{Base: base}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		same(t, to, next)
		way := map[bool]string{true: "whole", false: "delta"}[files.names[0] == target.Stored()]
		if len(files.names) == 2 && strings.Contains(files.names[0], ".from-") {
			way = "both"
		}
		if way != c.way {
			t.Errorf("%s: brought %v", name, files.names)
		}
		if _, err := os.Stat(to + deltaEnd); err == nil {
			t.Errorf("%s: the delta is left behind", name)
		}
	}
}

// TestDeltaLineBreaks: a line that breaks is no reason for the whole file, which is longer.
func TestDeltaLineBreaks(t *testing.T) {
	old := bytes.Repeat([]byte("0123456789"), 1000)
	next := append(bytes.Clone(old), program[:5000]...)
	delta := deltaOf(t, old, next)
	target := Target{Name: "scanrelay", Version: "1.1.0", OS: "linux", Arch: "arm64", Length: int64(len(next)), SHA256: hexSum(next)}
	target.Deltas = []Delta{{From: "1.0.0", FromSHA256: hexSum(old), Length: int64(len(delta)), SHA256: hexSum(delta)}}
	name := target.storedDelta(target.Deltas[0])
	files := mem{target.Stored(): next, name: delta}
	dir := t.TempDir()
	base, to := filepath.Join(dir, "base"), filepath.Join(dir, "file")
	put(t, base, old)
	if err := Fetch(t.Context(), broken{files, name}, target, to, Options{Base: base}); err == nil {
		t.Error("the whole file was brought")
	}
	if err := Fetch(t.Context(), files, target, to, Options{Base: base}); err != nil {
		t.Error(err)
	}
	same(t, to, next)
}

// FuzzDelta: whatever a delta is, nothing becomes of it but the target.
func FuzzDelta(f *testing.F) {
	old, next := []byte(strings.Repeat("what is here ", 50)), []byte(strings.Repeat("what is here now ", 50))
	f.Add(deltaOf(f, old, next))
	f.Add(deltaOf(f, old, bytes.Repeat(next, 1000)))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, delta []byte) {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "delta"), delta)
		to := filepath.Join(dir, "to")
		target := Target{Length: int64(len(next)), SHA256: hexSum(next)}
		if apply(filepath.Join(dir, "delta"), old, target, to) == nil {
			same(t, to, next)
		}
		if info, err := os.Stat(to); err == nil && info.Size() > target.Length+1 {
			t.Errorf("%d bytes were written", info.Size())
		}
	})
}
