package lookup

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/limit"
	"scanrelay/configs/wait"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/wire"
	"scanrelay/wechat/callback"
)

var callbackPattern = regexp.MustCompile(`^[A-Za-z_$][\w$.]{0,63}$`)

// jsonpAnswer is what WeChat's front end gets. The real names are agreed with
// WeChat at onboarding: this is the one place for them.
type jsonpAnswer struct {
	ResultCode        int
	ResultMsg         string
	WaybillID         string `json:"WaybillId"`
	WaybillCreateTime int64
	Path              []jsonpNode
	Cells             []Cell
}

type jsonpNode struct {
	ActionTime           int64
	ActionType           int
	ActionMsg            string
	PickupCourierName    string `json:",omitempty"`
	PickupCourierPhone   string `json:",omitempty"`
	DeliveryCourierName  string `json:",omitempty"`
	DeliveryCourierPhone string `json:",omitempty"`
}

// Cell is an entry of the landing page; in Link {waybill_id} is replaced.
type Cell struct{ Key, Name, Link string }

// Terms are what of the page can change while the centre runs.
type Terms struct {
	Cells      []Cell
	PerWaybill *limit.Keyed
	PerAddress *limit.Keyed
}

// Landing is GET /jsonp/waybill.
type Landing struct {
	From    Source
	Terms   func() *Terms
	Proxies func() caller.Proxies
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *metrics.Set

	once   sync.Once
	wrongs *limit.Keyed // wrong last four digits, by waybill
	told   wait.Rarely
}

// ServeHTTP answers with a script that calls the function named in the query.
func (l *Landing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	name := q.Get("callback")
	if !callbackPattern.MatchString(name) {
		l.count("400")
		http.Error(w, "callback: want a JavaScript name of at most 64 characters", http.StatusBadRequest)
		return
	}
	id := scan.NormalizeWaybill(q.Get("waybill_id"))
	if snapshot.BadID(id) != "" {
		id = ""
	}
	phone := q.Get("phone")
	if l.limited(w, r, id, phone) {
		l.count("429")
		return
	}
	began := time.Now()
	a := l.answer(r.Context(), id, phone)
	if a.ResultCode == callback.CodeWrongPhone {
		l.wrong(id, phone)
		holdRefusal(r.Context(), began)
	}
	l.count(strconv.Itoa(a.ResultCode))
	writeJSONP(w, name, a)
}

func (l *Landing) count(code string) {
	l.Metrics.GetOrCreateCounter(`scanrelay_central_jsonp_total{code="` + code + `"}`).Inc()
}

// limited answers a call that comes too soon. Every call counts, so that a
// guess costs the same whether it is right or wrong.
func (l *Landing) limited(w http.ResponseWriter, r *http.Request, id scan.WaybillID, phone string) bool {
	now := l.Now()
	terms := l.Terms()
	ok, wait := terms.PerAddress.Allow(limit.AddressKey(l.Proxies().Client(r)), now)
	if ok {
		ok, wait = terms.PerWaybill.Allow(string(id), now)
	}
	if ok && short(phone) && l.guesses().Of(string(id)).TokensAt(now) < 1 {
		ok, wait = false, time.Hour
		l.tell(r)
	}
	if ok {
		return false
	}
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	http.Error(w, "too many calls, try again later", http.StatusTooManyRequests)
	return true
}

// Ten thousand last four digits fall to patience: of a waybill this many wrong ones
// are answered at once, and in a day. Then whoever has the whole number may look.
const shortGuesses = 30

// short reports whether these are last four digits: they alone match beside the whole
// number.
func short(phone string) bool { return len(snapshot.NormalizePhone(phone)) == 4 }

func (l *Landing) guesses() *limit.Keyed {
	l.once.Do(func() {
		l.told.Every = time.Minute
		l.wrongs = limit.New(shortGuesses/(24*time.Hour).Seconds(), shortGuesses, maxGuessed)
	})
	return l.wrongs
}

// maxGuessed bounds the waybills whose wrong guesses are remembered.
const maxGuessed = 100_000

// wrong counts a wrong guess.
func (l *Landing) wrong(id scan.WaybillID, phone string) {
	if short(phone) {
		l.guesses().Allow(string(id), l.Now())
	}
}

// tell says that somebody goes on guessing; which waybill it is stands in no log.
func (l *Landing) tell(r *http.Request) {
	l.Metrics.GetOrCreateCounter("scanrelay_central_jsonp_guesses_total").Inc()
	if more, due := l.told.Due(l.Now()); due {
		l.Logger.Warn("somebody guesses phones at the landing page: a waybill is shut for last four digits today",
			"address", l.Proxies().Client(r).String(), "more_since_last_line", more)
	}
}

// answer looks the waybill up. No phone, a wrong one and an unknown waybill get
// the same answer.
func (l *Landing) answer(ctx context.Context, id scan.WaybillID, phone string) jsonpAnswer {
	a := jsonpAnswer{
		ResultCode: callback.CodeWrongPhone, ResultMsg: "phone does not match", WaybillID: string(id),
		Path: []jsonpNode{}, Cells: []Cell{},
	}
	wb, ok, err := l.From.Lookup(ctx, id)
	if err != nil {
		a.ResultCode, a.ResultMsg = callback.CodeTryAgain, "try again"
		return a
	}
	var data scan.Waybill // an unknown waybill is compared with nobody's phones
	if ok && wb.Data != nil {
		data = *wb.Data
	}
	receiver, sender := phoneMatches(data.Receiver.Phone, phone), phoneMatches(data.Sender.Phone, phone)
	if !receiver && !sender {
		return a
	}
	a.ResultCode, a.ResultMsg, a.WaybillCreateTime = callback.CodeOK, "OK", data.CreateTime
	a.Cells = l.cells(id)
	for _, n := range callback.NewestFirst(wire.Path(wb.Nodes)) { // in the order of merging, as the callback
		a.Path = append(a.Path, jsonpNode(n))
	}
	return a
}

func (l *Landing) cells(id scan.WaybillID) []Cell {
	cells := l.Terms().Cells
	out := make([]Cell, len(cells))
	for i, cell := range cells {
		out[i] = cell
		out[i].Link = strings.ReplaceAll(cell.Link, "{waybill_id}", url.QueryEscape(string(id)))
	}
	return out
}

// writeJSONP answers with a script. encoding/json escapes <, >, &, U+2028 and
// U+2029; the comment in front keeps the answer from being taken for a file of
// another type by its first bytes.
func writeJSONP(w http.ResponseWriter, name string, a jsonpAnswer) {
	body, err := json.Marshal(a)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/javascript; charset=utf-8")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(w, "/**/"+name+"("+string(body)+");")
}
