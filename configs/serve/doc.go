// Package serve is what each long-running role of the program is made of: HTTP
// servers with every timeout set and their connections bounded, answers in JSON, a log
// that holds nobody up, and
// parts that run side by side and are stopped in order.
//
// It promises that no server waits for a slow client for ever, and that Stop
// returns only after each part has ended or was given up. It opens no listener
// and catches no signal: main does.
package serve
