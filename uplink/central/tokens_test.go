package central_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/syncapi"
)

func TestNoAccount(t *testing.T) {
	b := centraltest.New(t, func(o *central.Options) { o.Config.AppID, o.Config.Secret, o.Config.Callback.Token = "", "", "" })
	if resp := b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 1}); resp.WeChat.State != "no_token" || !strings.Contains(resp.WeChat.Reason, "appid") || resp.Token != nil {
		t.Errorf("%+v", resp.WeChat)
	}
}

// TestBadTokenOverHTTP: the sync that reports a bad token brings the fresh one.
func TestBadTokenOverHTTP(t *testing.T) {
	s := account.Numbered(2 * time.Hour)
	b := centraltest.New(t, func(o *central.Options) { o.WeChat = s })
	var first *syncapi.Token
	centraltest.Eventually(t, "a token", func() bool {
		first = b.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 1}).Token
		return first != nil
	})
	var both sync.WaitGroup
	for _, token := range []string{centraltest.TokenHZ, centraltest.TokenSH} {
		both.Go(func() {
			resp, err := b.TrySync(token, syncapi.Request{NextSeq: 1, BadToken: first.Generation})
			if err != nil || resp.Token == nil || resp.Token.Value != "token-2" || resp.Token.Retried {
				t.Errorf("%+v, %v", resp, err)
			}
		})
	}
	both.Wait()
	if s.Count() != 2 {
		t.Errorf("%d requests for one bad token", s.Count()-1)
	}
}
