package mapdevice

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"time"
	"unicode/utf8"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/decode"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
	"scanrelay/configs"
	"scanrelay/configs/serve"
)

// Bounds of what is sent.
const (
	maxBody = 256 << 10
	maxYAML = 64 << 10
)

// shown is a message as the list has it.
type shown struct {
	ID      string    `json:"id"`
	Topic   string    `json:"topic"`
	At      time.Time `json:"at"`
	Size    int64     `json:"size"`
	Text    string    `json:"text"` // its beginning, masked
	Large   bool      `json:"large,omitempty"`
	Outcome string    `json:"outcome"`          // what the mapping in use makes of it
	Filter  string    `json:"filter,omitempty"` // of the source that takes it
}

// Calls are what the page asks for, by method and path below /api/map/.
func (d *Desk) Calls() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET actions": actions, "GET messages": d.list, "GET quarantine": d.inTurn(d.listRejected),
		"POST paste": d.paste, "POST shape": d.shape, "POST words": d.words, "POST try": d.inTurn(d.tryDraft), "POST save": d.save,
	}
}

// inTurn has calls that go through the quarantine do so one at a time: intake needs the
// processor. Who is gone meanwhile needs no answer.
func (d *Desk) inTurn(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case d.turn <- struct{}{}:
			defer func() { <-d.turn }()
			h(w, r)
		case <-r.Context().Done():
		}
	}
}

// actions are WeChat's codes and what they mean.
func actions(w http.ResponseWriter, _ *http.Request) {
	type action struct {
		Code int    `json:"code"`
		En   string `json:"en"`
		Zh   string `json:"zh"`
	}
	var list []action
	for _, a := range scan.ActionTypes() {
		list = append(list, action{int(a), a.English(), a.Chinese()})
	}
	serve.JSON(w, http.StatusOK, list)
}

func (d *Desk) list(w http.ResponseWriter, _ *http.Request) {
	d.look()
	serve.JSON(w, http.StatusOK, d.shownOf(d.messages()))
}

func (d *Desk) listRejected(w http.ResponseWriter, r *http.Request) {
	d.look()
	list, err := d.fetch(r.Context())
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	serve.JSON(w, http.StatusOK, d.shownOf(list))
}

// shownOf shows messages, the newest first.
func (d *Desk) shownOf(list []message) []shown {
	out := make([]shown, 0, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		m := &list[i]
		s := shown{ID: m.id, Topic: scan.MaskPayload(m.Topic), At: m.ReceivedAt, Size: m.Size, Large: m.large, Outcome: "large"}
		if !m.large {
			text := scan.MaskPayload(readableText(m.Payload))
			if r := []rune(text); len(r) > 200 {
				text = string(r[:200]) + "…"
			}
			e := d.o.Mapper.Explain(m.Topic, m.Payload, m.Info(), false)
			s.Text, s.Filter, s.Outcome = text, e.Filter, summary(e)
		}
		out = append(out, s)
	}
	return out
}

// summary is the outcome that most is to be said of: what is not understood, then what is.
func summary(e *mapping.Explanation) string {
	switch {
	case e.Source < 0:
		return "unmapped"
	case len(e.Batch.Rejects) > 0:
		return "rejected"
	case len(e.Batch.Events) > 0:
		return "event"
	}
	return "ignored"
}

// readableText is a payload as a text, with what is none of it left out.
func readableText(b []byte) string {
	b, _, _ = plain(b)
	var out []rune
	for _, r := range string(decode.Strip(b)) {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			r = ' '
		case r == utf8.RuneError || r < ' ':
			r = '·'
		}
		if out = append(out, r); len(out) > 2000 {
			break
		}
	}
	return string(out)
}

// ask is what the page sends.
type ask struct {
	ID      string `json:"id"`
	Topic   string `json:"topic"`
	Payload string `json:"payload"`
	Decoder string `json:"decoder"`
	Pointer string `json:"pointer"`
	Name    string `json:"name"`
	YAML    string `json:"yaml"`
}

func read(w http.ResponseWriter, r *http.Request) (a ask, ok bool) {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&a); err != nil {
		serve.Fail(w, http.StatusBadRequest, "what was sent is too large or no JSON")
		return a, false
	}
	return a, true
}

// paste keeps a message that somebody typed as if it had come.
func (d *Desk) paste(w http.ResponseWriter, r *http.Request) {
	a, ok := read(w, r)
	switch {
	case !ok:
		return
	case a.Topic == "" || len(a.Topic) > 1024 || len(a.Payload) > maxPayload:
		serve.Fail(w, http.StatusBadRequest, fmt.Sprintf("a message has a topic and at most %d KiB", maxPayload>>10))
		return
	}
	d.look()
	now := time.Now()
	if d.o.Clock != nil {
		now = d.o.Clock.Now()
	}
	serve.JSON(w, http.StatusOK, ask{ID: d.keep(intake.Message{Topic: a.Topic, Payload: []byte(a.Payload), ReceivedAt: now})})
}

func (d *Desk) shape(w http.ResponseWriter, r *http.Request) {
	a, ok := read(w, r)
	if !ok {
		return
	}
	d.look()
	m, found := d.find(a.ID)
	switch {
	case !found || m.large:
		serve.Fail(w, http.StatusNotFound, "this message is not kept any more: choose a newer one")
	case !decoders[a.Decoder]:
		serve.Fail(w, http.StatusBadRequest, "there is no such decoder")
	default:
		s := take(m.Topic, m.Payload, a.Decoder, d.o.Mapper.Births())
		s.Topic = m.Topic
		serve.JSON(w, http.StatusOK, s)
	}
}

// wordsShown bounds the words of one place.
const wordsShown = 30

var aWord = regexp.MustCompile(`^[^\d]{0,20}[\d]{0,6}[^\d]{0,20}$`)

// words are those that kept messages of a message's topic have at one place, unmasked:
// of an action, whose words the mapping holds. What has many digits is none.
func (d *Desk) words(w http.ResponseWriter, r *http.Request) {
	a, ok := read(w, r)
	if !ok {
		return
	}
	m, found := d.find(a.ID)
	if !found {
		serve.Fail(w, http.StatusNotFound, "this message is not kept any more: choose a newer one")
		return
	}
	list := []string{}
	seen := map[string]bool{}
	for _, one := range append(d.messages(), m) {
		if one.large || one.Topic != m.Topic {
			continue
		}
		for _, text := range textsAt(&one, a.Decoder, a.Pointer) {
			if !seen[text] && aWord.MatchString(text) && text != "" && len(list) < wordsShown {
				seen[text] = true
				list = append(list, text)
			}
		}
	}
	serve.JSON(w, http.StatusOK, list)
}

// named is what a file of a mapping may be called.
var named = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

func draftOf(w http.ResponseWriter, r *http.Request) (a ask, ok bool) {
	a, ok = read(w, r)
	switch {
	case !ok:
		return a, false
	case !named.MatchString(a.Name):
		serve.Fail(w, http.StatusBadRequest, "a mapping's name has small letters, digits and dashes, at most 40")
		return a, false
	case len(a.YAML) > maxYAML:
		serve.Fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a mapping has at most %d KiB", maxYAML>>10))
		return a, false
	}
	return a, true
}

func (d *Desk) tryDraft(w http.ResponseWriter, r *http.Request) {
	a, ok := draftOf(w, r)
	if !ok {
		return
	}
	d.look()
	o, err := d.try(r.Context(), a.Name, []byte(a.YAML))
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	serve.JSON(w, http.StatusOK, o)
}

// saved is what became of a mapping that was to be saved.
type saved struct {
	Failed   bool      `json:"failed"` // nothing was changed
	Problems []problem `json:"problems"`
	File     string    `json:"file,omitempty"`
}

func (d *Desk) save(w http.ResponseWriter, r *http.Request) {
	a, ok := draftOf(w, r)
	if !ok {
		return
	}
	draft, err := d.o.Files.Save(a.Name, []byte(a.YAML))
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	s := saved{Problems: problemsOf(draft.Problems), Failed: draft.Problems.Failed()}
	if !s.Failed {
		s.File = configs.SourcesDir + "/" + a.Name + ".yaml"
	}
	serve.JSON(w, http.StatusOK, s)
}
