// Package lookup answers those who ask for one waybill from outside: WeChat's
// reverse lookup, by wechat/callback, and the landing page of WeChat's front end,
// by JSONP. An answer takes one read of the snapshot.
//
// To a phone that does not match, nothing may be learned: a waybill that nobody
// knows and one with a long path are refused in the same words, of the same
// length, at the same time. Phones are compared in a time that depends on neither
// number. It must never log a phone, or whether one matched.
package lookup
