package archive_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/store/durable"
	"scanrelay/store/snapshot/archive"
)

var at = time.Unix(1_795_400_000, 0).UTC()

// sample is an archive of two buckets and a file.
func sample(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w := archive.NewWriter(&out, "1.2.3")
	err := errors.Join(w.Begin("store", at, 12345), w.Bucket("log.db", "meta"), w.Record([]byte("a"), []byte("b")), w.Record([]byte("c"), nil),
		w.Bucket("log.db", "log"), w.Record([]byte("a"), []byte("second")), w.Bucket("waybills.db", "holes"),
		w.File("identity.log", strings.NewReader("one\ntwo\nthe rest is being wri"), nil), w.File("audit.log", strings.NewReader(""), nil), w.End())
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s, err := archive.Unpack(t.Context(), dir, bytes.NewReader(sample(t)), []string{"log.db", "waybills.db", "identity.log", "audit.log"})
	if err != nil || s.StoreID != "store" || !s.At.Equal(at) || s.Scanrelay != "1.2.3" || s.Size != 12345 || s.Records != 3 || s.Bytes != 18 {
		t.Errorf("%+v, %v", s, err)
	}
	if p := s.Parts["log.db/meta"]; len(s.Parts) != 5 || p != (archive.Count{Records: 2, Bytes: 3}) || s.Parts["identity.log"].Bytes != 8 {
		t.Errorf("parts %+v", s.Parts)
	}
	for name, want := range map[string]string{"identity.log": "one\ntwo\n", "audit.log": ""} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	db, err := bbolt.Open(filepath.Join(dir, "log.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_ = db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket([]byte("log")).Get([]byte("a")); string(v) != "second" {
			t.Errorf("log: %q", v)
		}
		return nil
	})
}

// TestLargeParts: records and lines of any size come back as they were, in frames that
// are bounded.
func TestLargeParts(t *testing.T) {
	var out sizes
	w := archive.NewWriter(&out, "")
	value := bytes.Repeat([]byte("x"), 3<<20)
	line := strings.Repeat("y", 1<<20) + "\n"
	err := errors.Join(w.Begin("store", at, 0), w.Bucket("waybills.db", "waybills"))
	for i := range 2000 {
		err = errors.Join(err, w.Record(fmt.Appendf(nil, "key%06d", i), bytes.Repeat([]byte("v"), 1000)))
	}
	err = errors.Join(err, w.Record([]byte("large"), value),
		w.File("audit.log", strings.NewReader(strings.Repeat(line, 3)), nil), w.End())
	if err != nil {
		t.Fatal(err)
	}
	if out.most > 4<<20 || out.most < 3<<20 || out.n > 30 {
		t.Errorf("%d writes of at most %d bytes", out.n, out.most)
	}
	s, err := archive.Check(bytes.NewReader(out.all))
	if err != nil || s.Records != 2001 || s.Parts["audit.log"].Bytes != 3<<20+3 {
		t.Errorf("%+v, %v", s, err)
	}
}

type sizes struct {
	all     []byte
	n, most int
}

func (s *sizes) Write(b []byte) (int, error) {
	s.n++
	s.most = max(s.most, len(b))
	s.all = append(s.all, b...)
	return len(b), nil
}

// TestDamage: whatever byte is another one, wherever it is cut off, whatever follows
// or comes twice, it is told and never taken for whole.
func TestDamage(t *testing.T) {
	whole := sample(t)
	is := func(what string, b []byte, wants ...error) {
		t.Helper()
		if _, err := archive.Check(bytes.NewReader(b)); err == nil || !slices.ContainsFunc(wants, func(want error) bool { return errors.Is(err, want) }) {
			t.Errorf("%s: %v", what, err)
		}
	}
	first := bytes.IndexByte(whole, '\n') + 1
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 0x11
		if i < first {
			is(fmt.Sprintf("byte %d changed", i), changed, archive.ErrForeign, durable.ErrDamaged, durable.ErrNewer)
		} else {
			is(fmt.Sprintf("byte %d changed", i), changed, durable.ErrDamaged)
			is(fmt.Sprintf("cut off at %d", i), whole[:i], durable.ErrDamaged)
		}
	}
	is("something follows", append(bytes.Clone(whole), 0), durable.ErrDamaged)
	is("twice", append(bytes.Clone(whole), whole...), durable.ErrDamaged)
	parts := frames(whole[first:])
	for i := range parts {
		is(fmt.Sprintf("frame %d is missing", i), slices.Concat(whole[:first], bytes.Join(slices.Delete(slices.Clone(parts), i, i+1), nil)), durable.ErrDamaged)
		is(fmt.Sprintf("frame %d comes twice", i), slices.Concat(whole[:first], bytes.Join(slices.Insert(slices.Clone(parts), i, parts[i]), nil)), durable.ErrDamaged)
	}
	is("none", nil, archive.ErrForeign)
	is("another file", []byte("PK\x03\x04 and so on, as a packed file begins"), archive.ErrForeign)
	newer := append([]byte("scanrelay centre backup 2\n"), whole[first:]...)
	is("a newer one", newer, durable.ErrNewer)
	if _, err := archive.Check(bytes.NewReader(newer)); err == nil || !strings.Contains(err.Error(), "written by a newer scanrelay (backup format 2, this one knows 1)") {
		t.Errorf("a newer one: %v", err)
	}
}

// frames cuts what follows the first line.
func frames(b []byte) (list [][]byte) {
	for len(b) > 0 {
		n := 9 + int(binary.BigEndian.Uint32(b[1:]))
		list, b = append(list, b[:n]), b[n:]
	}
	return list
}

// forged makes an archive of any frames, with sums that are right.
func forged(parts ...string) []byte {
	out := []byte("scanrelay centre backup 1\n")
	sum := uint32(0)
	for _, p := range parts {
		frame := append([]byte{p[0]}, binary.BigEndian.AppendUint32(nil, uint32(len(p)-1))...)
		frame = append(frame, p[1:]...)
		sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), frame)
		out = append(append(out, frame...), binary.BigEndian.AppendUint32(nil, sum)...)
	}
	return out
}

// TestForged: sums that are right make no sense of what is none. Nothing is written
// but where a centre has a file.
func TestForged(t *testing.T) {
	const head = `h{"store_id":"s","at":"2026-11-30T00:00:00Z"}`
	const end = `e{"records":0,"bytes":0}`
	if _, err := archive.Check(bytes.NewReader(forged(head, end))); err != nil {
		t.Fatal(err)
	}
	many := []string{head}
	for i := range 1001 {
		many = append(many, fmt.Sprintf("ffile%d", i))
	}
	for name, parts := range map[string][]string{
		"no head":            {"blog.db/log", end},
		"two heads":          {head, head, end},
		"a head of nothing":  {"h{}", end},
		"a head without sum": {"h", end},
		"records of none":    {head, "r\x01a\x01b", end},
		"content of none":    {head, "dx", end},
		"records of a file":  {head, "faudit.log", "r\x01a\x01b", end},
		"content of buckets": {head, "blog.db/log", "dx", end},
		"a length too long":  {head, "blog.db/log", "r\x7fa\x01b", end},
		"a length of ages":   {head, "blog.db/log", "r\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", end},
		"an empty key":       {head, "blog.db/log", "r\x00\x01b", end},
		"keys that fall":     {head, "blog.db/log", "r\x01b\x00", "r\x01a\x00", `e{"records":2,"bytes":2}`},
		"a bucket twice":     {head, "blog.db/log", "blog.db/log", end},
		"another count":      {head, `e{"records":1,"bytes":0}`},
		"an unknown part":    {head, "xyz", end},
		"a way out":          {head, "f../audit.log", end},
		"a way from the top": {head, "f/etc/passwd", end},
		"a way through":      {head, "blog.db/../x", end},
		"no name":            {head, "f", end},
		"a file as bucket":   {head, "baudit.log", end},
		"too many parts":     many,
		"a file's name":      {head, "faudit.log/x", end},
	} {
		if _, err := archive.Check(bytes.NewReader(forged(parts...))); !errors.Is(err, durable.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, parts := range map[string][]string{
		"another file":              {head, "fcentral.yaml", end},
		"a bolt file without pages": {head, "flog.db", "dnonsense", "blog.db/log", `e{"records":0,"bytes":8}`},
		"buckets of a text":         {head, "baudit.log/log", end},
	} {
		dir := t.TempDir()
		_, err := archive.Unpack(t.Context(), dir, bytes.NewReader(forged(parts...)), []string{"log.db", "audit.log"})
		if left, _ := os.ReadDir(dir); !errors.Is(err, durable.ErrDamaged) || len(left) > 0 {
			t.Errorf("%s: %v, %v", name, err, left)
		}
	}
}

// TestUnpackEnds: it ends when it is told to.
func TestUnpackEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := archive.Unpack(ctx, t.TempDir(), bytes.NewReader(sample(t)), []string{"log.db", "waybills.db", "identity.log", "audit.log"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// FuzzRead: whatever an archive says, reading ends, takes no more memory than it has
// bytes, and takes for whole only what is written the same way again.
func FuzzRead(f *testing.F) {
	f.Add(sample(f))
	f.Add(forged(`h{"store_id":"s","at":"2026-11-30T00:00:00Z"}`, "blog.db/log", "r\x01a\x01b", "r\x02bb\x00", `e{"records":2,"bytes":4}`))
	f.Add([]byte("scanrelay centre backup 1\nr\x04\x00\x00\x00"))
	f.Add([]byte("scanrelay centre backup 18446744073709551616\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		again := &rewriter{Writer: archive.NewWriter(&bytes.Buffer{}, "")}
		s, err := archive.Read(bytes.NewReader(b), again)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20+200*uint64(len(b)) {
			t.Errorf("%d bytes of memory for %d of archive", took, len(b))
		}
		if err == nil && (s.Records != again.records || s.Bytes > uint64(len(b))) {
			t.Errorf("%+v, but %d records came", s, again.records)
		}
	})
}

type rewriter struct {
	*archive.Writer
	records uint64
}

func (r *rewriter) Begin(h archive.Head) error { return r.Writer.Begin(h.StoreID, h.At, h.Size) }
func (r *rewriter) Record(k, v []byte) error   { r.records++; return r.Writer.Record(k, v) }
func (r *rewriter) File(name string) error     { return r.Writer.File(name, strings.NewReader(""), nil) }
func (r *rewriter) Data([]byte) error          { return nil }
