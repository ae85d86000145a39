// Package e2e holds the end-to-end tests: the built binary, as an agent and a
// centre in processes of their own, between real MQTT brokers and a fake WeChat
// (package build/rig), under what happens to it in the field: duplicates, kill
// -9 of either, either or WeChat away for a while, a token voided, a stop in
// the middle of the work, a disk that is full, damaged, slow, fails or lies, a clock that jumps.
//
// Each test keeps a ledger of what the scanners had acknowledged and holds it
// against what the agent says and what WeChat was told: nothing lost, one
// outcome each, order per waybill kept, nothing pushed before central had it,
// double pushes bounded, nothing private in any log. It has no code of its own
// and looks into no data folder but to damage what is there.
package e2e
