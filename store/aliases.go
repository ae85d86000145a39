package store

import (
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/event"
)

// What the rooms of the outbox share, under the names by which callers know it.
type (
	ID         = event.ID
	State      = event.State
	Reply      = event.Reply
	Lease      = event.Lease
	Record     = event.Record
	Settlement = event.Settlement
	Retry      = event.Retry
	Counts     = event.Counts
)

// States; see package event.
const (
	Unsynced        = event.Unsynced
	AwaitingWaybill = event.AwaitingWaybill
	ToPush          = event.ToPush
	Pushed          = event.Pushed
	NotBound        = event.NotBound
	Superseded      = event.Superseded
	Expired         = event.Expired
	Muted           = event.Muted
	Dead            = event.Dead
	Discarded       = event.Discarded
)

// Functions of package event.
var (
	ParseID    = event.ParseID
	ParseState = event.ParseState
	Outcomes   = event.Outcomes
)

// Sentinels that callers branch on; see packages event and durable.
var (
	ErrFull      = event.ErrFull
	ErrClosed    = event.ErrClosed
	ErrFailed    = event.ErrFailed
	ErrNotLeased = event.ErrNotLeased
	ErrNotDead   = event.ErrNotDead
	ErrUnknownID = event.ErrUnknownID
	ErrInUse     = durable.ErrInUse
	ErrNewer     = durable.ErrNewer
	ErrDamaged   = durable.ErrDamaged
	ErrKey       = crypt.ErrKey
)
