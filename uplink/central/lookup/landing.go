package lookup

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/limit"
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

// Landing is GET /jsonp/waybill.
type Landing struct {
	From       Source
	Cells      []Cell
	PerWaybill *limit.Keyed
	PerAddress *limit.Keyed
	Proxies    caller.Proxies
	Now        func() time.Time
	Metrics    *metrics.Set
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
	if l.limited(w, r, id) {
		l.count("429")
		return
	}
	began := time.Now()
	a := l.answer(r.Context(), id, q.Get("phone"))
	if a.ResultCode == callback.CodeWrongPhone {
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
func (l *Landing) limited(w http.ResponseWriter, r *http.Request, id scan.WaybillID) bool {
	now := l.Now()
	ok, wait := l.PerAddress.Allow(caller.LimitKey(l.Proxies.Client(r)), now)
	if ok {
		ok, wait = l.PerWaybill.Allow(string(id), now)
	}
	if ok {
		return false
	}
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	http.Error(w, "too many calls, try again later", http.StatusTooManyRequests)
	return true
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
	out := make([]Cell, len(l.Cells))
	for i, cell := range l.Cells {
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
