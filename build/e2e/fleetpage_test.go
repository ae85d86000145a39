package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"

	"scanrelay/build/rig"
)

// TestFleetPage looks at the fleet page with a real Chromium while a depot is there
// and goes away: what moves is put in place, what somebody types stays, and what is
// wrong and what to do is said in both languages.
func TestFleetPage(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	site.Start()
	b := openBrowser(t)
	centre := "http://" + site.CentralHTTP
	b.open(centre + "/?lang=en")
	b.until(`document.querySelector("input[name=token]") !== null`)
	b.js(fmt.Sprintf(`document.querySelector("input[name=token]").value = %q; document.querySelector("form").submit()`, rig.AdminToken))
	b.until(`document.querySelector("form[action='/signout']") !== null`)
	b.open(centre + "/?lang=en&q=" + rig.Depot)
	const state = `document.querySelector("#live tbody td")`
	b.until(state + `?.className === "ok"`)
	b.fits("fleet")

	b.js(`const q = document.querySelector("input[name=q]"); q.focus(); q.value = "sh"; document.querySelector("#live table").id = "old"`)
	b.until(`document.querySelector("#live table") !== null && document.getElementById("old") === null`)
	b.until(`document.activeElement.name === "q" && document.activeElement.value === "sh"`)
	b.until(`document.querySelector("#live time").textContent !== document.querySelector("#live time").dateTime`)

	parcels := rig.Traffic(rig.Chance(1, "fleet page"), "YT", 40)
	parcels = slices.DeleteFunc(parcels, func(p *rig.Parcel) bool { return !p.Bound || p.WithScan })[:1]
	site.Import(parcels)
	publish(t, site.Scanner("gate-1"), rig.Scans(parcels, 1, "gate-1"))
	b.open(centre + "/waybills?lang=en&id=" + parcels[0].ID)
	b.until(`document.body.textContent.includes("answered")`)                                     // WeChat's lookup
	b.until(`[...document.querySelectorAll("#live td")].some(td => td.textContent === "pushed")`) // as the depot says
	b.fits("waybill")
	b.open(centre + "/waybills?lang=zh&reveal=1&id=" + parcels[0].ID)
	b.until(`document.body.textContent.includes("已记入审计日志")`)
	b.open(centre + "/audit?lang=zh")
	b.until(`document.body.textContent.includes("waybill.reveal")`)
	b.fits("audit")

	b.open(centre + "/?lang=en&q=" + rig.Depot)
	b.until(state + `?.className === "ok"`)
	site.Agent.Kill()
	b.until(state + `.className === "fault"`) // the page finds it by itself
	b.until(`document.querySelector("#live td.why").textContent.includes("no sync for half a minute")`)
	b.open(centre + "/?lang=en&state=ok&q=" + rig.Depot)
	b.until(`document.querySelector("#live tbody td")?.colSpan > 1`) // nobody
	b.open(centre + "/?lang=zh&q=HZ&sort=last")
	b.until(state + `?.textContent === "故障"`)
	b.js(`document.querySelector("#live tbody a").click()`)
	b.until(`document.querySelector("ul.alarms")?.textContent.includes("半分钟没有同步")`)
	b.fits("depot")
}

// fits looks whether the page fits screens of each width; SCANRELAY_SHOTS names a
// folder for pictures of it.
func (b *browser) fits(name string) {
	b.t.Helper()
	for _, width := range []int64{390, 1300, 1920} {
		if err := chromedp.Do(b.ctx, chromedp.EmulateViewport(width, 900)); err != nil {
			b.t.Fatal(err)
		}
		b.until(`[...document.querySelectorAll("body *:not(.scroll *)")].every(e => e.getBoundingClientRect().right <= innerWidth + 1)`)
		if dir := os.Getenv("SCANRELAY_SHOTS"); dir != "" {
			png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.png", name, width)), png, 0o644)
			}
			if err != nil {
				b.t.Error(err)
			}
		}
	}
}
