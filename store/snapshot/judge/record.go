package judge

import (
	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// RecordKind says what a record decided.
type RecordKind byte

// The kinds of records; the numbers stand in logs.
const (
	RecordEvent   RecordKind = iota + 1 // an event went into a path, or belongs to a past life
	RecordMark                          // an event was a duplicate or refused: its number and identity
	RecordData                          // waybill data
	RecordBinding                       // a binding
	RecordAgain                         // all depots are to send again what they still have
	RecordChild                         // a number is a parcel's
	RecordMove                          // a node of what became a parcel goes into its mother's path
)

// Record is one decision. Applying it again judges nothing again.
type Record struct {
	Kind RecordKind
	At   int64 // unix seconds
	// Of RecordEvent and RecordMark. Base is the effective have before it:
	// what lies between Base and Seq is a gap.
	Number
	Base   uint64
	Ident  uint64
	Result snapshot.Result
	// Of RecordEvent, RecordData, RecordChild (the parcel) and RecordMove.
	Waybill  scan.WaybillID
	Node     Node
	Data     *scan.Waybill
	Imported bool
	Mother   scan.WaybillID // of RecordChild
	// Of RecordBinding.
	Phone   PhoneKey
	Binding Binding
}
