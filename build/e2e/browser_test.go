package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"scanrelay/build/rig"
)

// TestHostileBrowser signs an administrator in with a real Chromium, which then
// shows pages of others: nothing at the centre is changed by them.
func TestHostileBrowser(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	site.StartCentral()
	parcel := rig.Traffic(rig.Chance(1, "browser"), "YT", 1)[0]
	site.Import([]*rig.Parcel{parcel})
	const forgedPhone = "13900009999"
	receiver := parcel.Receiver
	receiver.Phone = forgedPhone
	forged, err := json.Marshal(map[string]any{"waybill_id": parcel.ID, "create_time": parcel.CreateTime, "sender": parcel.Sender, "receiver": receiver})
	if err != nil {
		t.Fatal(err)
	}
	centre := "http://" + site.CentralHTTP

	attack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, hostilePage, centre, forged)
	}))
	t.Cleanup(attack.Close)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(attack.URL, "http://"))

	b := openBrowser(t)
	b.open("http://any:" + rig.AdminToken + "@" + site.CentralHTTP + "/") // a user may try it so, and Chromium keeps it
	b.open(centre + "/")
	b.until(`document.querySelector("table, input[name=token]") !== null`)
	b.js(fmt.Sprintf(`document.querySelector("input[name=token]").value = %q; document.querySelector("form").submit()`, rig.AdminToken))
	b.until(`document.querySelector("form[action='/signout']") !== null`)
	// Another site, and another port of the same one, to which cookies go along.
	for _, host := range []string{"localhost", "127.0.0.1"} {
		b.open("http://" + net.JoinHostPort(host, port) + "/")
		b.until(`document.title === "done"`)
	}
	_, waybill := site.Ask("GET", "/v1/waybills/"+parcel.ID+"?reveal=true", rig.AdminToken, nil)
	if !strings.Contains(string(waybill), parcel.Receiver.Phone) || strings.Contains(string(waybill), forgedPhone) {
		t.Errorf("a hostile page changed the waybill: %s", waybill)
	}
	b.open(centre + "/")
	b.until(`document.querySelector("form[action='/signout']") !== null`) // still signed in
	b.js(`document.querySelector("form[action='/signout']").submit()`)
	b.until(`document.querySelector("input[name=token]") !== null`)
	if log := site.Central.Log(); strings.Contains(log, rig.AdminToken) {
		t.Error("the admin token stands in the log")
	}
}

// hostilePage tries all that a page can: fetch in each mode, forms of each type,
// and a frame, and waits until each was answered. %[1]s is the centre, %[2]q a
// waybill to overwrite.
const hostilePage = `<!DOCTYPE html><title>working</title>
<iframe name=f1></iframe><iframe name=f2></iframe><iframe name=f3></iframe><iframe src="%[1]s/"></iframe>
<script>
const centre = "%[1]s", line = %[2]q;
function post(path, type, name, value, target) {
  const f = document.createElement("form"), i = document.createElement("input");
  Object.assign(f, {method: "post", action: centre + path, enctype: type, target: target});
  Object.assign(i, {type: "hidden", name: name, value: value});
  f.append(i); document.body.append(f);
  return new Promise(answered => { document.getElementsByName(target)[0].onload = answered; f.submit(); });
}
(async () => {
  for (const mode of ["no-cors", "cors"]) for (const path of ["/v1/waybills", "/v1/sync", "/signout"])
    await fetch(centre + path, {method: "POST", mode: mode, credentials: "include", body: new Blob([line], {type: "text/plain"})}).catch(() => {});
  await fetch(centre + "/v1/waybills", {method: "POST", credentials: "include", headers: {Authorization: "Bearer x"}, body: line}).catch(() => {});
  await post("/v1/waybills", "text/plain", line.slice(0, -1) + ',"x":"', '"}', "f1");
  await post("/signout", "application/x-www-form-urlencoded", "form_token", "", "f2");
  await post("/signin", "application/x-www-form-urlencoded", "token", "wrong", "f3");
  document.title = "done";
})();
</script>`

// browser is one tab of a headless Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Fatal("the pages are tested in Chromium and none was found: install it, on Debian with `apt-get install chromium`")
	}
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.NoFirstRun,
		chromedp.DisableGPU, chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true))
	ctx, endProcess := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, endTab := chromedp.NewContext(ctx)
	t.Cleanup(func() { endTab(); endProcess() })
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return &browser{t, ctx}
}

func (b *browser) open(url string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(url)); err != nil {
		b.t.Fatalf("open %s: %v", url, err)
	}
}

func (b *browser) js(code string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("(() => {"+code+"; return true})()")); err != nil {
		b.t.Fatalf("run in the page: %v", err)
	}
}

// until waits for a condition, over whatever the page moves on to.
func (b *browser) until(condition string) {
	b.t.Helper()
	rig.Await(b.t, condition, func() (bool, string) {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](condition))
		return ok && err == nil, fmt.Sprint(err)
	})
}

// is asks whether a condition holds now.
func (b *browser) is(condition string) bool {
	b.t.Helper()
	ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](condition))
	return ok && err == nil
}
