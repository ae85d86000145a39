package sync

import (
	"sync"
	"time"

	"scanrelay/uplink/syncapi"
)

// Status is how the centre stands.
type Status struct {
	Connected bool
	Reason    string             // why not connected; "" before the first try
	LastSync  time.Time          // zero: never
	Offset    time.Duration      // how far our clock is ahead of the centre's
	WeChat    syncapi.WeChatView // as the centre sees it
	Lag       time.Duration      // age of the oldest unsynced event
}

// Status may be called at any time.
func (s *Relay) Status() Status {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	st := s.view.Status
	st.Lag = s.lag()
	return st
}

// lag is the age of the oldest unsynced event.
func (s *Relay) lag() time.Duration {
	at := s.oldest.Load()
	if at == 0 {
		return 0
	}
	return max(0, s.Clock.Now().Sub(time.Unix(0, at)))
}

// view is the Status but for the lag.
type view struct {
	mu sync.Mutex
	Status
}

// reached keeps that the centre answered; it reports whether that is new.
func (v *view) reached(now, centre time.Time, wechat syncapi.WeChatView) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.Connected
	v.Status = Status{Connected: true, LastSync: now, Offset: now.Sub(centre).Truncate(time.Second), WeChat: wechat}
	return !before
}

// lost keeps why the centre did not answer; it reports whether that is new.
func (v *view) lost(reason string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.Status
	v.Connected, v.Reason = false, reason
	return before.Connected || before.Reason != reason
}
