// Crypt measures the message push's encryption (wechat/README.md, Frame) beside
// silenceper/wechat's, the most used Go SDK for WeChat: both in one run, in
// turns, on the same messages. Each is called as its own handler calls it: ours
// with the key read once at the start, theirs with the key as text every time.
//
// Before it measures it lets each read what the other wrote; it ends with exit
// code 1 if one cannot.
package main
