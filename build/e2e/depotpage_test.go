package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"scanrelay/build/rig"
)

// pagePassword opens the depot page of the tests.
const pagePassword = "the-password-of-this-depot-page"

// signInToDepot opens the depot page of a site and signs in.
func signInToDepot(b *browser, site *rig.Site, lang string) {
	b.t.Helper()
	b.open("http://" + site.AgentHTTP + "/")
	b.until(`document.querySelector("input[name=password]") !== null`)
	b.js(fmt.Sprintf(`localStorage.setItem("lang", %q); document.querySelector("input[name=password]").value = %q; document.querySelector("form").submit()`, lang, pagePassword))
	b.until(`document.getElementById("out")?.hidden === false`)
}

// TestDepotPageSignIn: nothing of the depot is shown before the password, nor after
// signing out.
func TestDepotPageSignIn(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true, Env: []string{"SCANRELAY_HTTP_PASSWORD=" + pagePassword}})
	site.Start()
	b := openBrowser(t)
	b.open("http://" + site.AgentHTTP + "/")
	b.until(`document.querySelector("input[name=password]") !== null`)
	b.fits("door")
	b.js(`document.querySelector("input[name=password]").value = "wrong"; document.querySelector("form").submit()`)
	b.until(`document.querySelector("[data-of='401']")?.hidden === false`)
	signInToDepot(b, site, "en")
	b.until(`document.getElementById("depot").textContent === "` + rig.Depot + `"`)
	b.until(`getComputedStyle(document.querySelector(".card")).borderRadius === "12px"`) // the style came
	b.fits("depot-now")
	b.js(`document.getElementById("out").submit()`)
	b.until(`document.querySelector("input[name=password]") !== null && !document.body.textContent.includes("` + rig.Depot + `")`)
}

// TestDepotPage works with the page as a depot does, in a real Chromium: it shows scans as
// they come, finds a waybill's way, retries and discards dead letters, replays the
// quarantine, and says in both languages what is wrong and what to do.
func TestDepotPage(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true, Env: []string{"SCANRELAY_HTTP_PASSWORD=" + pagePassword}})
	site.Start()
	parcels := rig.Traffic(rig.Chance(1, "depotpage"), "YT", 3)
	site.Import(parcels)
	publish(t, site.Scanner("gun-1"), rig.Scans(parcels, 2, "gun-1"))

	b := openBrowser(t)
	signInToDepot(b, site, "en")
	b.until(`Number(document.getElementById("received").textContent) > 0`)
	b.until(`document.querySelectorAll("#alarms li").length === 0`)
	tab := func(name string) {
		t.Helper()
		b.js(`location.hash = "` + name + `"`)
		b.until(`!document.getElementById("tab-` + name + `").hidden`)
	}
	tab("scans")
	b.until(`document.querySelectorAll("#scans tbody tr").length > 2`)
	b.js(`document.querySelector("#scans button").click()`)
	b.until(`!document.getElementById("tab-way").hidden && document.querySelectorAll("#way tbody tr").length > 0`)
	b.js(`document.querySelector("#find input").value = "YT0000000"; document.getElementById("find").requestSubmit()`)
	b.until(`document.querySelector("#way .care")?.textContent.includes("No scan of this waybill")`)
	b.js(`document.querySelector("#find input").value = "` + string(parcels[0].ID) + `"; document.getElementById("find").requestSubmit()`)
	b.until(`document.querySelectorAll("#way tbody tr").length > 0`)
	b.fits("depot-way")

	// Something that nobody understands, and what is made of it once somebody does.
	connect(t, site, "gun-2")("scans/gun-2", `{"waybill_id":"13800138000","action_type":200001,"action_msg":"x"}`)
	tab("rejected")
	b.until(`(() => { if (document.querySelectorAll("#rejectedList tbody tr").length === 1) return true; tabs.rejected.show(); return false })()`)
	b.js(`document.getElementById("replaySome").click()`)
	b.until(`document.getElementById("rejectedSaid").textContent === "Choose some first."`)
	b.js(`document.querySelector("#rejectedList input").click(); document.getElementById("replaySome").click()`)
	b.until(`document.getElementById("rejectedSaid").textContent.includes("1 still not understood")`)
	b.fits("depot-quarantine")

	tab("dead")
	b.until(`document.querySelector("#deadList .note") !== null`)
	b.js(`document.getElementById("retryAll").click()`)
	b.until(`document.getElementById("deadSaid").textContent.startsWith("Press again")`)
	b.js(`document.getElementById("retryAll").click()`)
	b.until(`document.getElementById("deadSaid").textContent === "0 done."`)

	// Without its centre the page goes on; in Chinese, light and dark.
	tab("now")
	b.js(`document.getElementById("lang").click()`)
	b.until(`document.documentElement.lang === "zh" && document.querySelector("[data-tab=now]").textContent === "现在"`)
	b.fits("depot-now-zh")
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		for _, name := range []string{"now", "way", "scans", "dead", "rejected", "map"} {
			tab(name)
			b.readable()
		}
		b.fits("depot-map-" + scheme)
	}
	tab("now")
	if os.Getenv("SCANRELAY_SHOTS") != "" { // somebody looks: the first minute is counted
		b.until(`document.querySelectorAll("#charts svg").length === 3 || void loadHistory()`)
	}
	b.fits("depot-now-dark")
}

// scheme makes the browser prefer dark colours, or light ones.
func (b *browser) scheme(name string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
	if err != nil {
		b.t.Fatal(err)
	}
}

// readable asks that every text that is shown stands out from what is behind it as WCAG's
// level AA wants.
func (b *browser) readable() {
	b.t.Helper()
	bad, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`(() => {
		const rgb = c => (c.match(/[\d.]+/g) || []).map(Number), light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
		const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0.99) return c.slice(0, 3); } return [255, 255, 255]; };
		const bad = [];
		for (const e of document.querySelectorAll("body *")) {
			if (!e.checkVisibility() || e.disabled || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
			const style = getComputedStyle(e), a = light(rgb(e.namespaceURI.endsWith("svg") ? style.fill : style.color).slice(0, 3)), c = light(behind(e)), ratio = (Math.max(a, c) + 0.05) / (Math.min(a, c) + 0.05);
			if (ratio < 4.5) bad.push(ratio.toFixed(2) + " " + e.textContent.slice(0, 30));
		}
		return bad.join("; ");
	})()`))
	if err != nil || bad != "" {
		b.t.Errorf("texts that do not stand out: %s %v", bad, err)
	}
}
