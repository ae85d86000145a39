// Package scan is the domain everybody talks about: the scan event, the
// waybill number, the depot, the phone that prints masked, the path node and
// the parties of a waybill.
//
// It is a leaf: it imports the standard library only, does no I/O, starts no
// goroutine and reads no clock. It knows neither MQTT nor bbolt nor WeChat; the
// one file where a scan event meets WeChat's wire types is in uplink/push.
//
// # Personal data
//
// Phone, Private and Text hold personal data. However they are printed, with
// fmt, log/slog or encoding/json, they come out masked; Reveal is the only way
// to the content, so a reader finds each place that needs it by searching for
// that one word. Wire and disk formats therefore have types of their own.
package scan
