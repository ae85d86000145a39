package demo

import (
	"context"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"scanrelay/agent/control"
)

// startDemo runs a demo in the background and returns its page's host and what
// Run returned, once it has.
func startDemo(t *testing.T, o Options) (host string, ended <-chan error) {
	t.Helper()
	o.Listen, o.Out = listen(t), io.Discard
	result := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		result <- Run(ctx, o)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return o.Listen.Addr().String(), result
}

// The page in a real browser, while the demo runs and its uplink is cut by the
// page's own button: it loads nothing from elsewhere, complains of nothing,
// speaks both languages, fits narrow and wide screens, and ends with the right
// counts.
func TestPage(t *testing.T) {
	b := openTab(t)
	host, ended := startDemo(t, Options{Parcels: 110, Duration: 40 * time.Second})
	b.look(1400, 1100, "light", "no-preference")
	b.open("http://" + host + "/")
	b.until(`document.querySelectorAll('#cards li').length >= 3`)
	if banner := b.text("banner"); !strings.Contains(banner, "All is well") {
		t.Errorf("banner %q", banner)
	}
	b.shoot("wide")
	eval[bool](b, `(window.moods = []).length === 0 && new MutationObserver(() => moods.push(document.querySelector('#banner').dataset.mood))
		.observe(document.querySelector('#banner'), {attributes: true, attributeFilter: ['data-mood']}) === undefined`)
	b.click("#cut")
	b.until(`document.querySelector('#banner').dataset.mood === 'cut' && +document.querySelector('#wait-unsynced').textContent > 30`)
	b.shoot("wide-cut")
	b.click(`[data-lang=zh]`)
	if banner := b.text("banner"); !strings.Contains(banner, "上行网络已断") || eval[string](b, "document.documentElement.lang") != "zh-CN" {
		t.Errorf("in Chinese: %q", banner)
	}
	checkSizes(b)
	b.look(1400, 1100, "dark", "no-preference")
	b.until(`moods.lastIndexOf('busy') > moods.indexOf('cut')`)
	b.shoot("wide-dark-zh")
	b.click(`[data-lang=en]`)
	b.until(`document.body.dataset.phase === 'done'`)
	b.shoot("wide-done")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	checkCounts(b)
	checkMasked(b)
	b.checkQuiet(host)
}

// checkSizes looks for anything that does not fit the width.
func checkSizes(b *tab) {
	b.Helper()
	for _, c := range []struct {
		width          int64
		scheme, motion string
		name           string
	}{{390, "light", "no-preference", "narrow-zh"}, {390, "dark", "reduce", "narrow-dark-still-zh"}, {900, "light", "reduce", "middle-zh"}} {
		b.look(c.width, 844, c.scheme, c.motion)
		b.until(`document.querySelectorAll('.rows li').length > 4`)
		if wide := eval[[]string](b, `[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && getComputedStyle(e).position !== 'absolute').map(e => e.tagName + '.' + e.className)`); len(wide) > 0 {
			b.Errorf("%s: wider than the screen: %v", c.name, wide)
		}
		b.shoot(c.name)
	}
}

// checkCounts compares the numbers on the page with each other: every scan came
// to the disk and to the centre, and the outcomes add up to all of them.
func checkCounts(b *tab) {
	b.Helper()
	n := func(id string) int {
		return eval[int](b, `+document.getElementById('`+id+`').textContent.replace(/\D/g, '')`)
	}
	all, sum := n("reached0"), n("out-pushed")+n("out-not_bound")+n("out-superseded")+n("out-other")
	if all < 250 || n("reached1") != all || n("reached2") != all || sum != all || n("in-received") != all || n("reached4") != n("out-pushed") || n("out-other") != 0 {
		b.Errorf("scanned %d, on disk %d, synced %d, outcomes %d, stored %d, pushed %d and %d", all, n("reached1"), n("reached2"), sum, n("in-received"), n("reached4"), n("out-pushed"))
	}
	if n("wait-unsynced")+n("wait-awaiting_waybill")+n("wait-to_push") != 0 {
		b.Error("something still waits")
	}
}

var wholePhone = regexp.MustCompile(`1[3-9][0-9]{9}`)

func checkMasked(b *tab) {
	b.Helper()
	html := eval[string](b, `document.documentElement.outerHTML`)
	if !strings.Contains(html, "138******") {
		b.Error("no masked phone is on the page")
	}
	// Waybill numbers have 13 digits behind letters; a phone stands alone.
	for _, found := range regexp.MustCompile(`[A-Z]*[0-9]{7,}`).FindAllString(html, -1) {
		if wholePhone.MatchString(found) && len(found) == 11 {
			b.Errorf("a whole phone number is on the page: %s…", found[:3])
		}
	}
}

// A browser that prefers Chinese gets Chinese at once.
func TestPageSpeaksTheBrowsersLanguage(t *testing.T) {
	b := openTab(t)
	h := newHub(newBoard(makeParcels(5, 1, time.Now().Unix()), time.Now), newCable(), func() (s control.Status) { return })
	page, err := h.handler()
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(page)
	defer front.Close()
	defer h.goodbye()
	for language, want := range map[string]string{"zh-CN": "等待中", "en-GB": "What waits"} {
		_, err := chromedp.Call(b.ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: "test", AcceptLanguage: language})
		b.must(err)
		b.open(front.URL)
		b.until(`document.getElementById('wait-title').textContent !== ''`)
		if got := b.text("wait-title"); got != want {
			t.Errorf("%s: %q, want %q", language, got, want)
		}
	}
}
