package trust

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// program is what the tests fetch.
var program = bytes.Repeat([]byte("0123456789abcdef"), 10_000)

func programTarget() (mem, Target) {
	t := Target{Name: "scanrelay", Version: "1.0.0", OS: "linux", Arch: "arm64", Length: int64(len(program)), SHA256: hexSum(program)}
	return mem{t.Stored(): program}, t
}

func same(t *testing.T, path string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes are there, %d should be (%v)", len(got), len(want), err)
	}
}

func TestFetch(t *testing.T) {
	files, target := programTarget()
	other := bytes.Clone(program)
	other[len(other)-1]++
	for name, c := range map[string]struct{ there, given []byte }{
		"nothing there":           {nil, program},
		"a part":                  {program[:70_001], program},
		"all":                     {program, nil},
		"a part that is wrong":    {[]byte("something else"), program},
		"NULs to its full length": {make([]byte, len(program)), program},
		"more than it":            {append(bytes.Clone(program), '!'), program},
	} {
		to := filepath.Join(t.TempDir(), "file")
		put(t, to, c.there)
		files[target.Stored()] = c.given
		if err := Fetch(t.Context(), files, target, to, Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		same(t, to, program)
		if err := target.Check(to); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		there, given []byte
		want         string
		left         int
	}{
		"endless":       {nil, append(bytes.Clone(program), '!'), "it is endless", 0},
		"another":       {nil, other, "its SHA-256 is not the one", 0},
		"another twice": {program[:5], other, "its SHA-256 is not the one", 0},
		"short":         {nil, program[:99], "ended after 99 of 160000 bytes", 99},
	} {
		to := filepath.Join(t.TempDir(), "file")
		put(t, to, c.there)
		files[target.Stored()] = c.given
		if err := Fetch(t.Context(), files, target, to, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		same(t, to, program[:c.left])
		if err := target.Check(to); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: checked: %v", name, err)
		}
	}
}

func TestRoom(t *testing.T) {
	files, target := programTarget()
	to := filepath.Join(t.TempDir(), "file")
	put(t, to, program[:1000])
	o := Options{Free: func(string) int64 { return 400_000 - 1001 }}
	if err := Fetch(t.Context(), files, target, to, o); err == nil || !strings.Contains(err.Error(), "399999 bytes are free, 400000 are needed") {
		t.Error(err)
	}
	o.Free = func(string) int64 { return 400_000 - 1000 }
	if err := Fetch(t.Context(), files, target, to, o); err != nil {
		t.Error(err)
	}
}

// line gives a repository's bytes some at a time.
type line struct {
	files mem
	chunk int64
	every time.Duration
	till  int64 // then no more comes; 0: all
}

func (l line) Open(ctx context.Context, name string, from int64) (io.ReadCloser, error) {
	r, err := l.files.Open(ctx, name, from)
	return io.NopCloser(&drops{Reader: r, ctx: ctx, l: l}), err
}

type drops struct {
	io.Reader
	ctx  context.Context
	l    line
	came int64
}

func (d *drops) Read(b []byte) (int, error) {
	wait := d.l.every
	if d.l.till > 0 && d.came >= d.l.till {
		wait = 1000 * time.Hour
	}
	select {
	case <-time.After(wait):
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
	n, err := d.Reader.Read(b[:min(int64(len(b)), d.l.chunk)])
	d.came += int64(n)
	return n, err
}

// TestSlowRetrieval: a line that hangs or trickles is given up; one that is merely slow is
// not; what came is kept.
func TestSlowRetrieval(t *testing.T) {
	files, target := programTarget()
	for name, c := range map[string]struct {
		line  line
		o     Options
		want  error
		after time.Duration
	}{
		"hangs from the start": {line{chunk: 1, every: 1000 * time.Hour}, Options{}, errSlow, time.Minute},
		"hangs in between":     {line{chunk: 10_000, every: time.Second, till: 40_000}, Options{}, errSlow, 2 * time.Minute},
		"trickles":             {line{chunk: 255, every: time.Second}, Options{}, errSlow, time.Minute},
		"just fast enough":     {line{chunk: 270, every: time.Second}, Options{}, nil, 594 * time.Second},
		"too long in all":      {line{chunk: 16_000, every: time.Minute / 2}, Options{Deadline: 4 * time.Minute}, errDeadline, 4 * time.Minute},
		"held back by us":      {line{chunk: 16_000}, Options{MaxRate: 100}, nil, 1600 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to, begin := filepath.Join(t.TempDir(), "file"), time.Now()
				c.line.files = files
				if err := Fetch(t.Context(), c.line, target, to, c.o); !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if took := time.Since(begin); took < c.after-2*time.Second || took > c.after+2*time.Second {
					t.Errorf("took %v, want %v", took, c.after)
				}
				got, err := os.ReadFile(to)
				if err != nil || !bytes.HasPrefix(program, got) || c.line.till > 0 && len(got) != int(c.line.till) {
					t.Errorf("%d bytes are left (%v)", len(got), err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // metadata, too
		w := newWorld()
		_, err := Verify(t.Context(), line{files: w.files, chunk: 1, every: 2 * time.Second}, w.state(t), time.Time{})
		if !errors.Is(err, errSlow) || errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	})
}

func TestDir(t *testing.T) {
	files, target := programTarget()
	dir := t.TempDir()
	lay(t, dir, files)
	to := filepath.Join(t.TempDir(), "file")
	put(t, to, program[:777])
	if err := Fetch(t.Context(), Dir(dir), target, to, Options{}); err != nil {
		t.Fatal(err)
	}
	same(t, to, program)
	if _, err := Dir(dir).Open(t.Context(), "1.root.json", 0); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Dir(dir).Open(t.Context(), "../x", 0); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
}

func lay(t *testing.T, dir string, files mem) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, path, content)
	}
}

func TestHTTP(t *testing.T) {
	w := newWorld()
	files, target := programTarget()
	for name, content := range files {
		w.files[name] = content
	}
	dir := t.TempDir()
	lay(t, dir, w.files)
	var mu sync.Mutex
	var ranges []string
	with := http.StripPrefix("/v1/updates/", http.FileServer(http.Dir(dir)))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		ranges = append(ranges, r.Header.Get("Range"))
		mu.Unlock()
		switch {
		case strings.HasPrefix(r.URL.Path, "/wrong/"):
			rw.Header().Set("Content-Range", "bytes 0-9/10")
			rw.WriteHeader(http.StatusPartialContent)
		case strings.HasPrefix(r.URL.Path, "/denied/"):
			rw.WriteHeader(http.StatusForbidden)
		case strings.HasPrefix(r.URL.Path, "/plain/"):
			_, _ = rw.Write(program)
		default:
			with.ServeHTTP(rw, r)
		}
	}))
	defer server.Close()
	if _, err := Verify(t.Context(), HTTP{URL: server.URL + "/v1/updates"}, w.state(t), time.Time{}); err != nil {
		t.Fatal(err)
	}
	for way, want := range map[string]string{"/v1/updates/": "", "/plain": "", "/wrong": "another range", "/denied": "status 403", "/none": "does not exist"} {
		to := filepath.Join(t.TempDir(), "file")
		put(t, to, program[:777])
		err := Fetch(t.Context(), HTTP{URL: server.URL + way, Client: server.Client()}, target, to, Options{})
		if want == "" && err == nil {
			same(t, to, program)
		} else if err == nil || want == "" || !strings.Contains(err.Error(), want) || errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", way, err)
		}
	}
	if got := ranges[len(ranges)-1]; got != "bytes=777-" {
		t.Errorf("asked for %q", got)
	}
	if _, err := (HTTP{URL: "http://user:secret@[::1"}).Open(t.Context(), "x", 0); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// bundled is a repository as one file.
func bundled(files mem, kind byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		_ = w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644, Typeflag: kind})
		_, _ = w.Write(content)
	}
	_ = w.Close()
	return b.Bytes()
}

func TestBundle(t *testing.T) {
	w := newWorld()
	w.rotate()
	whole := bundled(w.files, tar.TypeReg)
	path := filepath.Join(t.TempDir(), "bundle")
	put(t, path, whole)
	b, err := OpenBundle(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	v, err := Verify(t.Context(), b, w.state(t), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	target, err := v.Choose("scanrelay", "linux", "arm", "7", "0.1.0", "")
	if err != nil {
		t.Fatal(err)
	}
	if left := b.Limit(v).Targets; len(left) != 2 {
		t.Errorf("in the bundle are %v", left)
	}
	stick := &Bundle{files: map[string]*io.SectionReader{target.Stored(): b.files[target.Stored()]}}
	if left := stick.Limit(v).Targets; len(left) != 1 || left[0].SHA256 != target.SHA256 || len(v.Targets) != 2 {
		t.Errorf("in the bundle are %v", left)
	}
	to := filepath.Join(t.TempDir(), "file")
	put(t, to, []byte("prog"))
	if err := Fetch(t.Context(), b, target, to, Options{}); err != nil {
		t.Fatal(err)
	}
	same(t, to, []byte("program one"))

	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"nothing":   {nil, "EOF"},
		"NULs":      {make([]byte, 4096), "EOF"},
		"garbage":   {bytes.Repeat([]byte("garbage "), 512), "invalid tar header"},
		"a link":    {bundled(mem{"timestamp.json": nil}, tar.TypeSymlink), "only 1024 plain files"},
		"a folder":  {bundled(mem{"targets/": nil}, tar.TypeDir), "only 1024 plain files"},
		"two alike": {append(bundled(mem{"a": nil}, tar.TypeReg)[:512], bundled(mem{"./a": nil}, tar.TypeReg)...), "only 1024 plain files"},
		"too many":  {bundled(many(maxFiles+1), tar.TypeReg), "only 1024 plain files"},
	} {
		put(t, path, c.content)
		if _, err := OpenBundle(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Cut anywhere: never another outcome than what is wrong, in words.
	for cut := 0; cut < len(whole); cut += 100 {
		put(t, path, whole[:cut])
		b, err := OpenBundle(path)
		if err != nil {
			continue
		}
		v, err := Verify(t.Context(), b, w.state(t), time.Time{})
		if err == nil && len(v.Targets) != 2 {
			t.Errorf("cut at %d: %v", cut, v.Targets)
		}
		b.Close()
	}
}

func many(n int) mem {
	files := mem{}
	for i := range n {
		files[strings.Repeat("a", i%90+1)+string(rune('a'+i/90))] = nil
	}
	return files
}

// FuzzBundle: whatever is on a stick, it is read within bounds.
func FuzzBundle(f *testing.F) {
	w := newWorld()
	f.Add(bundled(w.files, tar.TypeReg))
	f.Add(bundled(mem{"timestamp.json": nil}, tar.TypeLink))
	f.Add(bytes.Repeat([]byte("\xff"), 1024))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "bundle")
		put(t, path, data)
		b, err := OpenBundle(path)
		if err != nil {
			return
		}
		defer b.Close()
		if v, err := Verify(t.Context(), b, w.state(t), time.Time{}); err == nil && len(v.Targets) != 2 {
			t.Errorf("accepted: %v", v.Targets)
		}
	})
}
