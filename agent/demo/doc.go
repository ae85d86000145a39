// Package demo runs the whole of scanrelay in one process on loopback, with
// nothing to install: a depot agent with its embedded broker, a centre, a
// simulated WeChat (wechat/fake), simulated scanners that publish over real
// MQTT connections, and a page that shows scans on their way.
//
//	scanners ──MQTT──► agent ──uplink──► centre ◄──reverse lookup── fake WeChat
//	(devices.go)         └──────uplink──────────────pathnotify──────────►┘
//	                            (cut by cable.go)
//
// The roles are the real ones, wired together as their commands do it; only
// WeChat, the scanners and the carrier's own system are played. What is shown
// comes from the parts' hooks, never from what the demo hopes for (board.go);
// at the end audit.go compares what the scanners got acknowledged, what the
// outbox says and what the fake WeChat received.
//
// With a rollout it shows how a release goes out instead (rollout.go): a real centre, its
// fleet page, its repository and its rollout, to gateways that are played (gateways.go).
// They say what agents say, in a time that goes faster for all of them alike; at the end a
// good release has reached who can be reached, a bad one is run by nobody: TestRollout.
//
// It must never reach the real WeChat and never shows a whole phone number.
package demo
