package e2e

import (
	"fmt"
	"testing"

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
