package rig

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"scanrelay/wechat/fake"
)

// WeChat is the fake WeChat behind an address that stays the same while it goes
// away and comes back.
type WeChat struct {
	*fake.Server
	Addr string
	t    T

	mu     sync.Mutex // guards server
	server *http.Server
}

// NewWeChat makes a fake WeChat and opens its address.
func NewWeChat(t T, o fake.Options) *WeChat {
	t.Helper()
	f, err := fake.New(o)
	if err != nil {
		t.Fatalf("make fake wechat: %v", err)
	}
	w := &WeChat{Server: f, Addr: FreeAddr(t), t: t}
	w.Open()
	t.Cleanup(func() {
		w.shut()
		f.Close()
	})
	return w
}

// lifePath is the start of each path in an agent's calls, before its life's number.
const lifePath = "/life-"

// URL returns the base URL of its APIs.
func (w *WeChat) URL() string { return "http://" + w.Addr }

// lifeURL returns it for the agent in a life: what a killed agent had sent may be
// worked on long after its successor has begun.
func (w *WeChat) lifeURL(life int) string { return w.URL() + lifePath + strconv.Itoa(life) }

// serve notes the life in which a call was made behind the address it came from.
func (w *WeChat) serve(rw http.ResponseWriter, r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, lifePath); ok {
		life, path, _ := strings.Cut(rest, "/")
		r = r.Clone(r.Context())
		r.URL.Path, r.RemoteAddr = "/"+path, r.RemoteAddr+lifePath+life
	}
	w.Server.ServeHTTP(rw, r)
}

// lifeOf returns the life in which a call was made, from the address noted.
func lifeOf(remote string) int {
	_, text, _ := strings.Cut(remote, lifePath)
	life, _ := strconv.Atoi(text) // central has no lives: 0
	return life
}

// Open takes connections (again).
func (w *WeChat) Open() {
	w.t.Helper()
	var l net.Listener
	Await(w.t, "wechat's address to be free", func() (bool, string) {
		var err error
		if l, err = net.Listen("tcp", w.Addr); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	s := &http.Server{Handler: http.HandlerFunc(w.serve), ReadHeaderTimeout: 10 * time.Second}
	w.mu.Lock()
	w.server = s
	w.mu.Unlock()
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			w.t.Errorf("serve wechat: %v", err)
		}
	}()
}

// shut refuses connections and ends those that are open once what is under way
// was answered; an answer that takes longer than a second is lost.
func (w *WeChat) shut() {
	w.mu.Lock()
	s := w.server
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		_ = s.Close() // the listener is closed already, connections have no news
	}
}

// Cut refuses connections, too, in the middle of whatever is under way: answers are lost.
func (w *WeChat) Cut() {
	w.mu.Lock()
	s := w.server
	w.mu.Unlock()
	if err := s.Close(); err != nil {
		w.t.Errorf("close wechat: %v", err)
	}
}
