package tokens

import (
	"testing"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// TestSecretIsChanged: the one before is tried where WeChat refuses the new one; and where
// the configuration gets the right one, a centre that was refused asks at once.
func TestSecretIsChanged(t *testing.T) {
	change := func(b *bench, next, old secret.Text) {
		t.Helper()
		if err := b.Change(t.Context(), Secrets{Secret: next, Old: old}); err != nil {
			t.Fatal(err)
		}
		b.after(0)
	}
	s := account.Numbered(10 * time.Minute)
	s.Wrong = "next"
	run(t, s, func(b *bench) {
		b.want("hz-01", "token-1", syncapi.StateOK, false)
		change(b, "next", "app-secret-text")
		b.want("hz-01", "token-1", syncapi.StateOK, false) // it is good
		b.after(10 * time.Minute)
		b.want("hz-01", "token-3", syncapi.StateOK, false) // refused with the new one, given with the old
		s.Locked(func() { s.Wrong = "app-secret-text" })
		for s.Count() < 4 {
			b.after(time.Second)
		}
		b.want("hz-01", "token-4", syncapi.StateOK, false) // WeChat has the new one
	})
	s = account.Numbered(time.Hour)
	s.Wrong = "app-secret-text"
	run(t, s, func(b *bench) {
		b.want("hz-01", "", syncapi.StateBlocked, false)
		if change(b, "app-secret-text", "app-secret-text"); s.Count() != 2 {
			t.Errorf("the same twice, asked %d times", s.Count())
		}
		change(b, "next", "")
		b.want("hz-01", "token-3", syncapi.StateOK, false)
	})
	s = &account.Script{Answer: func(int) (wechat.AccessToken, error) {
		return wechat.AccessToken{}, &wechat.Error{API: wechat.APIStableToken, Code: 40164, Msg: "not in whitelist"}
	}}
	run(t, s, func(b *bench) {
		n := s.Count()
		if change(b, "next", "app-secret-text"); s.Count() != n {
			t.Error("the address is not allowed: another secret asks all the same")
		}
		b.after(10 * time.Second)
		if b.want("hz-01", "", syncapi.StateBlocked, false); s.Count() > n+2 {
			t.Errorf("what is not about the secret is asked %d times", s.Count()-n)
		}
	})
}
