package central

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/wechat/callback"
)

var callbackPattern = regexp.MustCompile(`^[A-Za-z_$][\w$.]{0,63}$`)

// jsonpAnswer is what WeChat's front end gets (wechat.md section 3.7). The real
// names are agreed with WeChat at onboarding: this is the one place for them.
type jsonpAnswer struct {
	ResultCode        int
	ResultMsg         string
	WaybillID         string `json:"WaybillId"`
	WaybillCreateTime int64
	Path              []jsonpNode
	Cells             []jsonpCell
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

type jsonpCell struct{ Key, Name, Link string }

// serveJSONP is GET /jsonp/waybill.
func (c *Central) serveJSONP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	name := q.Get("callback")
	if !callbackPattern.MatchString(name) {
		c.meters.jsonp("400")
		http.Error(w, "callback: want a JavaScript name of at most 64 characters", http.StatusBadRequest)
		return
	}
	id := scan.NormalizeWaybill(q.Get("waybill_id"))
	if len(id) > snapshot.MaxWaybillID {
		id = ""
	}
	if c.limited(w, r, id) {
		c.meters.jsonp("429")
		return
	}
	began := time.Now()
	a := c.landing(r, id, q.Get("phone"))
	if a.ResultCode == callback.CodeWrongPhone {
		holdRefusal(r.Context(), began)
	}
	c.meters.jsonp(strconv.Itoa(a.ResultCode))
	writeJSONP(w, name, a)
}

// limited answers a call that comes too soon. Every call counts, so that a
// guess costs the same whether it is right or wrong.
func (c *Central) limited(w http.ResponseWriter, r *http.Request, id scan.WaybillID) bool {
	now := c.o.Now()
	ok, wait := c.perIP.Allow(limitKey(c.clientAddress(r)), now)
	if ok {
		ok, wait = c.perID.Allow(string(id), now)
	}
	if ok {
		return false
	}
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	http.Error(w, "too many calls, try again later", http.StatusTooManyRequests)
	return true
}

// landing looks the waybill up. No phone, a wrong one and an unknown waybill get
// the same answer.
func (c *Central) landing(r *http.Request, id scan.WaybillID, phone string) jsonpAnswer {
	a := jsonpAnswer{
		ResultCode: callback.CodeWrongPhone, ResultMsg: "phone does not match", WaybillID: string(id),
		Path: []jsonpNode{}, Cells: []jsonpCell{},
	}
	wb, ok, err := c.o.Snapshot.Lookup(r.Context(), id)
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
	a.Path, a.Cells = jsonpPath(wb.Nodes), c.cells(id)
	return a
}

// phoneMatches compares a whole number, or its last four digits, in a time that
// depends on neither.
func phoneMatches(ours scan.Phone, theirs string) bool {
	whole := snapshot.NormalizePhone(ours.Reveal())
	end := whole[max(0, len(whole)-4):]
	given := sha256.Sum256([]byte(snapshot.NormalizePhone(theirs)))
	a, b := sha256.Sum256([]byte(whole)), sha256.Sum256([]byte(end))
	same := subtle.ConstantTimeCompare(given[:], a[:]) | subtle.ConstantTimeCompare(given[:], b[:])
	return same == 1 && len(whole) >= 7
}

// jsonpPath gives the path newest first, as the callback does: of nodes with
// the same time the one merged later counts as newer.
func jsonpPath(nodes []scan.PathNode) []jsonpNode {
	out := make([]jsonpNode, 0, len(nodes))
	for _, n := range wirePath(nodes) {
		out = append(out, jsonpNode(n))
	}
	slices.Reverse(out)
	slices.SortStableFunc(out, func(x, y jsonpNode) int {
		switch {
		case x.ActionTime > y.ActionTime:
			return -1
		case x.ActionTime < y.ActionTime:
			return 1
		}
		return 0
	})
	return out
}

func (c *Central) cells(id scan.WaybillID) []jsonpCell {
	out := make([]jsonpCell, len(c.o.Config.Cells))
	for i, cell := range c.o.Config.Cells {
		out[i] = jsonpCell(cell)
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
