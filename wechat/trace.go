package wechat

import (
	"net/http/httptrace"
	"sync/atomic"
)

// trace learns how far a request got. Its hooks may run after the request has
// ended, hence the atomics.
type trace struct{ asked, connected, wrote atomic.Bool }

func (t *trace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn:      func(string) { t.asked.Store(true) },
		GotConn:      func(httptrace.GotConnInfo) { t.connected.Store(true) },
		WroteHeaders: func() { t.wrote.Store(true) },
	}
}

// connectFailed reports that a connection was asked for and not got.
func (t *trace) connectFailed() bool { return t.asked.Load() && !t.connected.Load() }

// sent reports that the request may have left. A transport that tells nothing
// may have sent it.
func (t *trace) sent() bool { return t.wrote.Load() || !t.asked.Load() }
