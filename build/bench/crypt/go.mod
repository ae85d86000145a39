// What the message push's encryption is measured beside. A module of its own
// keeps that library out of the program's go.mod.
module scanrelay/build/bench/crypt

go 1.26.0

require (
	github.com/silenceper/wechat/v2 v2.1.10
	scanrelay v0.0.0
)

require golang.org/x/crypto v0.0.0-20220622213112-05595931fe9d // indirect

replace scanrelay => ../../..
