package trust

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"scanrelay/store/durable"
)

// Repository gives files by their names: N.root.json, timestamp.json, N.snapshot.json,
// N.targets.json, and under targets/ what they name.
type Repository interface {
	// Open gives a file from an offset on; fs.ErrNotExist: there is none. It ends with
	// ctx, as does reading. However much it gives, no more is read than was signed for.
	Open(ctx context.Context, name string, from int64) (io.ReadCloser, error)
}

// Dir is a repository in a folder.
type Dir string

// Open is Repository's.
func (d Dir) Open(_ context.Context, name string, from int64) (io.ReadCloser, error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrInvalid)
	}
	f, err := durable.Open(filepath.Join(string(d), name), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// HTTP is a repository on a server. Client, http.DefaultClient if nil, knows the proxy and
// who may read there.
type HTTP struct {
	URL    string
	Client *http.Client
}

// Open is Repository's.
func (h HTTP) Open(ctx context.Context, name string, from int64) (io.ReadCloser, error) {
	base, err := url.Parse(h.URL)
	if err != nil {
		return nil, errors.New("read the repository's address: it is none")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath(strings.Split(name, "/")...).String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity") // nothing is unpacked before it was verified
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	client := h.Client
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := h.placed(answer, from); err != nil {
		return nil, errors.Join(fmt.Errorf("get %s: %w", name, err), answer.Body.Close())
	}
	return answer.Body, nil
}

// placed holds that an answer begins where it was asked to.
func (HTTP) placed(answer *http.Response, from int64) error {
	switch answer.StatusCode {
	case http.StatusPartialContent:
		if !strings.HasPrefix(answer.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(from, 10)+"-") {
			return fmt.Errorf("the answer is of another range: %.80q", answer.Header.Get("Content-Range"))
		}
	case http.StatusOK: // a server without ranges
		_, err := io.CopyN(io.Discard, answer.Body, from)
		return err
	case http.StatusNotFound:
		return fs.ErrNotExist
	default:
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	return nil
}

// Bundle is a repository in one file, a tar without compression.
type Bundle struct {
	file  *os.File
	files map[string]*io.SectionReader
}

// maxFiles is how many files a bundle may have: roots, and what one release needs.
const maxFiles = 4 * maxRoots

// OpenBundle opens one and finds what is in it.
func OpenBundle(name string) (*Bundle, error) {
	f, err := durable.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	b := &Bundle{file: f, files: map[string]*io.SectionReader{}}
	if err := b.find(); err != nil {
		return nil, errors.Join(fmt.Errorf("read bundle %s: %w", filepath.Base(name), err), f.Close())
	}
	return b, nil
}

func (b *Bundle) find() error {
	for t := tar.NewReader(b.file); ; {
		h, err := t.Next()
		if err == io.EOF && len(b.files) > 0 {
			return nil
		}
		if err != nil {
			return err
		}
		at, err := b.file.Seek(0, io.SeekCurrent) // tar reads no further than the header
		if err != nil {
			return err
		}
		name := path.Clean(h.Name)
		if _, twice := b.files[name]; twice || h.Typeflag != tar.TypeReg || len(b.files) == maxFiles {
			return fmt.Errorf("%.80q: only %d plain files of different names are read", name, maxFiles)
		}
		b.files[name] = io.NewSectionReader(b.file, at, h.Size)
	}
}

// Open is Repository's.
func (b *Bundle) Open(_ context.Context, name string, from int64) (io.ReadCloser, error) {
	f, ok := b.files[name]
	if !ok {
		return nil, fmt.Errorf("open %s in the bundle: %w", name, fs.ErrNotExist)
	}
	return io.NopCloser(io.NewSectionReader(f, from, max(f.Size()-from, 0))), nil
}

// Limit leaves of what was verified what is in the bundle: the newest of the repository
// may well not be.
func (b *Bundle) Limit(v Verified) Verified {
	v.Targets = slices.DeleteFunc(slices.Clone(v.Targets), func(t Target) bool { return b.files[t.Stored()] == nil })
	return v
}

// Close closes the file.
func (b *Bundle) Close() error { return b.file.Close() }
