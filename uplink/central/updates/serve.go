package updates

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"scanrelay/configs/serve"
	"scanrelay/uplink/syncapi/directive"
)

// What downloads may take at once. A depot makes one at a time, and perhaps again over a
// new line.
const (
	maxDownloads  = 256
	depotDownload = 2
)

// slowest is how long 32 KiB of an answer may take.
const slowest = time.Minute

// metadata are the files at the top of a repository.
var metadata = regexp.MustCompile(`^(timestamp|[1-9][0-9]{0,8}\.(root|snapshot|targets))\.json$`)

// published reports whether a name is one of a repository's: what is staged, or a key that
// was left there, is not.
func published(name string) bool {
	if metadata.MatchString(name) {
		return true
	}
	return strings.HasPrefix(name, "targets/") && path.Clean(name) == name && !strings.Contains(name, "/.")
}

// ServeHTTP is GET /v1/updates/…, for depots.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	depot, _, status, why := s.o.Depot(r)
	if status != http.StatusOK {
		serve.Fail(w, status, why)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, directive.UpdatesPath)
	if !published(name) {
		serve.Fail(w, http.StatusNotFound, "there is no such file in a repository")
		return
	}
	leave, ok := s.places.Take(string(depot))
	if !ok {
		w.Header().Set("Retry-After", "30")
		serve.Fail(w, http.StatusServiceUnavailable, "as many downloads are under way as may be: try again")
		return
	}
	defer leave()
	w.Header().Set("Content-Type", "application/octet-stream")
	if name == timestampName && s.key != nil {
		text, err := s.timestamp(r.Context())
		if err != nil {
			s.fail(w, name, err)
			return
		}
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
		return
	}
	if err := s.file(w, r, name); err != nil {
		s.fail(w, name, err)
	}
}

func (s *Service) fail(w http.ResponseWriter, name string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		serve.Fail(w, http.StatusNotFound, "there is no such file in the repository")
		return
	}
	if more, due := s.failed.Due(s.o.Now()); due {
		s.o.Logger.Error("serve the repository of releases", "file", name, "error", err, "failed_since_last_line", more)
	}
	w.Header().Set("Retry-After", "60")
	serve.Fail(w, http.StatusServiceUnavailable, "the centre cannot give this file now")
}

// file serves a plain file of the folder; no link leads out of it.
func (s *Service) file(w http.ResponseWriter, r *http.Request, name string) error {
	root, err := os.OpenRoot(s.o.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if info, err := root.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return cmp.Or(err, fmt.Errorf("open %s: %w", name, fs.ErrNotExist))
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	http.ServeContent(&steady{w, http.NewResponseController(w)}, r, name, time.Time{}, f)
	return nil
}

// steady gives each part of an answer its own time: a program over a slow line takes
// longer than the server gives a whole answer.
type steady struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (s *steady) Write(p []byte) (int, error) {
	_ = s.control.SetWriteDeadline(time.Now().Add(slowest)) // a server that has none waits for as long as it likes
	return s.ResponseWriter.Write(p)
}
