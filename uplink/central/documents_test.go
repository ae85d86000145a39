package central_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"scanrelay/uplink/central"
	"scanrelay/uplink/central/identity"
	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/central/internal/documents"
)

// TestDamagedRegistration: a registration that cannot be read costs its depot alone,
// which is let in by nothing, also where it had been revoked; it is told, and a reset
// makes it anew. The centre starts all the same.
func TestDamagedRegistration(t *testing.T) {
	d := documents.New(nil)
	shared, err := identity.OpenShared(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	g := newRegistry(t, t.TempDir(), func(o *central.Options) { o.Identities = shared })
	sound, hurt := g.gateway("nb-07", "a"), g.gateway("nb-08", "b")
	sound.enrol(g.invite("/v1/depots", map[string]any{"id": "nb-07"}), "")
	hurt.enrol(g.invite("/v1/depots", map[string]any{"id": "nb-08", "name": "north"}), "")
	g.ask("POST", "/v1/depots/hz-01/revoke", map[string]any{"reason": "stolen"}, 200)
	session, lost := sound.mustSession(), hurt.mustSession()
	const hurtDoc, staticDoc = "identity/depot/nb-08", "identity/depot/hz-01"
	for what, fn := range map[string]func(doc []byte) []byte{
		"a letter":  func(doc []byte) []byte { return bytes.Replace(doc, []byte("north"), []byte("nortg"), 1) },
		"cut off":   func(doc []byte) []byte { return doc[:len(doc)/2] },
		"nothing":   func([]byte) []byte { return []byte{} },
		"another":   func([]byte) []byte { return []byte(`{"id":5}`) },
		"the blank": func(doc []byte) []byte { doc[len(doc)-1] ^= 1; return doc },
	} {
		before := d.All()[hurtDoc]
		d.Change(hurtDoc, fn)
		if err := identity.CheckShared(t.Context(), d, func(told string) { what += ", told: " + told }); err != nil || !strings.Contains(what, "depot nb-08 (document "+hurtDoc) {
			t.Errorf("checked: %s, %v", what, err)
		}
		for path, want := range map[string]string{
			"/v1/depots": `"state":"damaged"`, "/v1/depots/nb-08": `"state":"damaged"`, "/v1/alarms": `"kind":"registration_damaged"`,
			"/?q=nb-08&lang=en": "registration cannot be read", "/depots/nb-08?lang=en": "registration cannot be read",
		} {
			if code, out := g.Admin("GET", path, ""); code != 200 || !strings.Contains(out, want) {
				t.Errorf("%s: %s: %d %s", what, path, code, out)
			}
		}
		if code := g.syncs(session); code != 200 {
			t.Errorf("%s: a sound depot syncs: %d", what, code)
		}
		if code := g.syncs(lost); code != 401 {
			t.Errorf("%s: a session of what cannot be read: %d", what, code)
		}
		if _, code := hurt.session(); code != 401 {
			t.Errorf("%s: a session for what cannot be read: %d", what, code)
		}
		d.Change(hurtDoc, func([]byte) []byte { return before }) // restored
		if code := g.syncs(lost); code != 200 {
			t.Errorf("%s: restored: %d", what, code)
		}
	}
	d.Change(staticDoc, func(doc []byte) []byte { doc[5] ^= 1; return doc })
	if code := g.syncs(centraltest.TokenHZ); code != 403 {
		t.Errorf("a static token of what was revoked and cannot be read: %d", code)
	}
	d.Change(hurtDoc, func(doc []byte) []byte { return doc[1:] })
	broken := d.All()[hurtDoc]
	if _, err := central.New(central.Options{Config: centraltest.Config(), Snapshot: g.Store, WeChat: account.Always("t"), Identities: shared}); err != nil {
		t.Errorf("a start: %v", err)
	}
	if len(d.Damage()) != 2 {
		t.Errorf("told: %q", d.Damage())
	}
	g.ask("POST", "/v1/depots", map[string]any{"id": "nb-08"}, 409)
	token := g.invite("/v1/depots/nb-08/reset", nil)
	kept := 0
	for name, doc := range d.All() {
		if strings.HasPrefix(name, "broken/"+hurtDoc+"/") && bytes.Equal(doc, broken) {
			kept++
		}
	}
	if code := hurt.enrol(token, ""); code != 200 || kept != 1 {
		t.Errorf("enrolled again: %d; the damaged one is kept %d times", code, kept)
	}
	if code := g.syncs(hurt.mustSession()); code != 200 {
		t.Errorf("enrolled again, a sync: %d", code)
	}
	// A reset alone lets nobody in.
	next := g.invite("/v1/depots/hz-01/reset", nil)
	if code := g.syncs(centraltest.TokenHZ); code != 403 {
		t.Errorf("before its token is used: %d", code)
	}
	if code := g.gateway("hz-01", "c").enrol(next, ""); code != 200 {
		t.Errorf("with it: %d", code)
	}
}

// TestDocumentsOfOtherVersions: what a version before wrote is read, and it reads what
// this one writes; join tokens and the key of sessions that cannot be read are made anew.
func TestDocumentsOfOtherVersions(t *testing.T) {
	d := documents.New(map[string][]byte{
		"identity/secret": bytes.Repeat([]byte{7}, 32), "identity/depot/nb-07": []byte(`{"id":"nb-07","created":"2026-11-30T08:00:00Z"}`),
	})
	shared, err := identity.OpenShared(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if secret, _ := shared.Secret(t.Context()); !bytes.Equal(secret, d.All()["identity/secret"]) || secret[0] != 7 {
		t.Error("the key of sessions is another")
	}
	g := newRegistry(t, t.TempDir(), func(o *central.Options) { o.Identities = shared })
	w := g.gateway("nb-07", "a")
	if code := w.enrol(g.invite("/v1/depots/nb-07/reset", nil), ""); code != 200 {
		t.Errorf("enrol: %d", code)
	}
	var r identity.Registration
	if err := json.Unmarshal(d.All()["identity/depot/nb-07"], &r); err != nil || r.State() != "enrolled" {
		t.Errorf("a version before reads %+v, %v", r, err)
	}
	join := map[string]any{"uses": 5, "ids": "hz-*"}
	old := g.invite("/v1/join-tokens", join)
	d.Change("identity/tickets", func(doc []byte) []byte { return doc[1:] })
	if code := g.gateway("hz-08", "b").enrol(old, ""); code != 401 {
		t.Errorf("with a token that cannot be read: %d", code)
	}
	if code := g.gateway("hz-08", "b").enrol(g.invite("/v1/join-tokens", join), ""); code != 200 {
		t.Errorf("with one that was made since: %d", code)
	}
	d.Change("identity/secret", func(doc []byte) []byte { doc[0]++; return doc })
	again, err := identity.OpenShared(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if secret, _ := again.Secret(t.Context()); len(secret) != 32 || secret[1] == 7 && secret[2] == 7 {
		t.Error("a damaged key of sessions is used")
	}
	if len(d.Damage()) != 2 || len(d.All()) != 6 {
		t.Errorf("told: %q; %d documents", d.Damage(), len(d.All()))
	}
}
