package web

import (
	"bytes"
	"io/fs"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// The page is opened where there is no Internet.
func TestNothingIsNeededFromOutside(t *testing.T) {
	names, err := fs.Glob(files, "*")
	if err != nil || len(names) < 4 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`(?i)(src|href)="?(https?:)?//|@import|url\(`).Find(text); m != nil {
			t.Errorf("%s asks for %s", name, m)
		}
		if m := regexp.MustCompile(`innerHTML|insertAdjacentHTML|document\.write|eval\(`).Find(text); m != nil {
			t.Errorf("%s makes markup of text with %s", name, m)
		}
	}
}

func TestWhatIsSent(t *testing.T) {
	w := httptest.NewRecorder()
	Serve(w, "TOKEN")
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(w.Body.String(), `content="TOKEN"`) || strings.Contains(csp, "unsafe") {
		t.Errorf("%s\n%s", csp, w.Body)
	}
	w = httptest.NewRecorder()
	Door(w, 429)
	nonce := regexp.MustCompile(`nonce-([A-Z0-9]+)`).FindStringSubmatch(w.Header().Get("Content-Security-Policy"))
	if w.Code != 429 || nonce == nil || strings.Count(w.Body.String(), `nonce="`+nonce[1]+`"`) != 2 || bytes.Contains(w.Body.Bytes(), []byte("{{")) {
		t.Errorf("%d %v %s", w.Code, nonce, w.Body)
	}
	w = httptest.NewRecorder()
	Asset(w, httptest.NewRequest("GET", "/../page.go", nil))
	if w.Code != 404 {
		t.Errorf("a file that is none: %d", w.Code)
	}
}
