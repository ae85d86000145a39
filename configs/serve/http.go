package serve

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// newServer sets every timeout. A handler that streams moves its own write
// deadline on.
func newServer(h http.Handler, logger *slog.Logger, most int) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnState:         newBound(most, logger).state,
		ErrorLog:          log.New(quiet{logger}, "", 0),
	}
}

// quiet passes what the HTTP server complains about (broken handshakes and the
// like) on as debug messages.
type quiet struct{ logger *slog.Logger }

func (q quiet) Write(p []byte) (int, error) {
	q.logger.Debug("http server", "message", string(p))
	return len(p), nil
}

// HTTP serves h on ln, at most so many connections at once, until ctx is done, then
// lets running requests end for at most grace. It closes ln.
func HTTP(ctx context.Context, ln net.Listener, h http.Handler, logger *slog.Logger, most int, grace time.Duration) error {
	server := newServer(h, logger, most)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if server.Shutdown(end) != nil {
			_ = server.Close() // whoever still reads is cut off
		}
	})
	err := server.Serve(ln)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
