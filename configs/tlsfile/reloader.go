package tlsfile

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// reloader keeps a server's certificate while its files stay the same.
type reloader struct {
	cert, key string

	mu     sync.Mutex       // guards what follows
	loaded *tls.Certificate // nil before the first
	seen   time.Time        // modification time of the newer file, when it was loaded
}

// certificate implements tls.Config.GetCertificate. While the files are being
// replaced and don't fit together the pair before stays in use.
func (r *reloader) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := newest(r.cert, r.key)
	if r.loaded != nil && at.Equal(r.seen) {
		return r.loaded, nil
	}
	pair, err := read(r.cert, r.key)
	switch {
	case err == nil:
		r.loaded, r.seen = pair, at
	case r.loaded == nil:
		return nil, err
	}
	return r.loaded, nil
}

func newest(files ...string) (at time.Time) {
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && st.ModTime().After(at) {
			at = st.ModTime()
		}
	}
	return at
}
