package wechat

import "strconv"

// Class says what to do about an answer; see the package comment.
type Class uint8

// The classes (wechat/README.md, Classes).
const (
	Success Class = iota
	BadToken
	Transient
	Mismatch
	Throttled
	Permanent
	Blocked
	Unknown
)

var classNames = [...]string{
	"success", "token", "transient", "mismatch", "throttled", "permanent", "blocked", "unknown",
}

// String returns the class as the README writes it.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "class " + strconv.Itoa(int(c))
}

// The codes that callers tell apart within their class.
const (
	CodeDailyQuota   = 45009  // until 00:00 Asia/Shanghai
	CodeMinuteQuota  = 45011  // until the next minute
	CodeLookupFailed = 932001 // reverse lookup: they could not reach us
)

// row is an errcode's class, and its meaning in an operator's words.
type row struct {
	class   Class
	meaning string
}

// codes is the README's Error table, and the only place where an errcode becomes
// a class.
var codes = map[int]row{
	0:  {Success, "done"},
	-1: {Transient, "WeChat is busy"},

	40001: {BadToken, "the access_token is invalid"},
	40014: {BadToken, "the access_token is malformed"},
	42001: {BadToken, "the access_token has expired"},
	42007: {BadToken, "the access_token was voided"},
	41001: {BadToken, "the access_token was not sent: a defect of scanrelay"},

	40013: {Blocked, "the appid is wrong: check wechat.appid"},
	40125: {Blocked, "the AppSecret is wrong: check wechat.secret"},
	41002: {Blocked, "the appid is missing: check wechat.appid"},
	41004: {Blocked, "the AppSecret is missing: check wechat.secret"},
	40243: {Blocked, "the AppSecret is frozen: unfreeze it in WeChat's console"},

	40164: {Blocked, "this address is not on the account's allow list"},
	45035: {Blocked, "this address is not on the account's allow list"},
	61004: {Blocked, "this address is not on the account's allow list"},

	89503: {Blocked, "the account's admin must confirm calls from this address"},
	89504: {Blocked, "the account's admin must confirm calls from this address"},
	89505: {Blocked, "the account's admin must confirm calls from this address"},
	89506: {Blocked, "the account's admin refused calls from this address; ask again in 24 h"},
	89507: {Blocked, "the account's admin refused calls from this address; ask again in 1 h"},

	40097: {Permanent, "WeChat refuses a parameter"},
	44002: {Permanent, "the request had no body"},
	47001: {Permanent, "WeChat could not read the request"},
	43002: {Permanent, "the call must be a POST"},
	43003: {Permanent, "the call must use HTTPS: check wechat.base_url"},

	40230: {Blocked, "API signatures or encryption are switched on for the account"},
	40231: {Blocked, "API signatures or encryption are switched on for the account"},
	40232: {Blocked, "API signatures or encryption are switched on for the account"},
	40233: {Blocked, "API signatures or encryption are switched on for the account"},
	40234: {Blocked, "API signatures or encryption are switched on for the account"},
	40235: {Blocked, "API signatures or encryption are switched on for the account"},

	CodeDailyQuota:  {Throttled, "the daily quota of this API is used up"},
	CodeMinuteQuota: {Throttled, "the quota of this minute is used up"},

	48001: {Blocked, "this API is not granted to the account"},
	48004: {Blocked, "this API is banned for the account"},
	50001: {Blocked, "the account may not call this API"},
	50002: {Blocked, "the account is limited"},
	50004: {Blocked, "the account may not use access tokens, perhaps as a punishment: look into WeChat's console"},
	50007: {Blocked, "the account is frozen: look into WeChat's console"},
	61024: {Blocked, "this kind of access_token may not call this API"},

	150004: {Blocked, "the carrier is not configured at WeChat"},

	CodeLookupFailed: {Transient, "WeChat could not look the waybill up at central"},
	932002:           {Mismatch, "WeChat refused central's answer about the waybill"},
	932003:           {Mismatch, "WeChat found central's data of the waybill abnormal"},
}

// ClassOf returns the class of an errcode; Unknown for one not in the table.
func ClassOf(code int) Class {
	if r, ok := codes[code]; ok {
		return r.class
	}
	return Unknown
}

// Meaning explains an errcode in an operator's words; "" for one not in the table.
func Meaning(code int) string { return codes[code].meaning }
