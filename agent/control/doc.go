// Package control is how people and machines look into an agent and work on its
// dead letters: the status, the local API over a unix socket and its client, and
// the HTTP side with health, metrics and the depot page.
//
// It owns the JSON that `scanrelay status`, `events`, `trace` and the agent's
// HTTP answer with, and what is masked in it.
//
//	scanrelay status ─► Client ──unix socket──► Local(Options)  ─┐
//	                  └► offline: store.OpenReadOnly             ├─► store.Outbox
//	browser, Prometheus ──TCP, Host, door────► Public(Options)  ─┘
//
// The socket is <data_dir>/control.sock, mode 0660: who may open it may read
// personal data (reveal) and retry or discard dead letters. What listens on TCP shows
// all masked, and answers only to names of its own, so that a web page of a stranger
// can't read it through the operator's browser. Without http.password it answers this
// machine alone and only reads; with one package door lets in who signed in, and acts
// for them.
//
// It must never change an event by itself, never write personal data to a log,
// and never hold the store up: events are copied out in portions, and a reader
// that does not read is cut off. A look may take as long as it takes: empty lines
// say that the agent is still at work.
package control
