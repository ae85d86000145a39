package judge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// Facts are what a store holds, of the keys that were asked for. A nil or
// absent entry is held by nobody.
type Facts struct {
	Waybills map[scan.WaybillID]*State
	Answers  map[Number]Kept
	Bindings map[PhoneKey]Binding
	Depots   map[scan.DepotID]*Numbering
}

// NewFacts returns facts to fill.
func NewFacts() Facts {
	return Facts{
		Waybills: map[scan.WaybillID]*State{}, Answers: map[Number]Kept{},
		Bindings: map[PhoneKey]Binding{}, Depots: map[scan.DepotID]*Numbering{},
	}
}

// Number names one event of a depot.
type Number struct {
	Depot scan.DepotID
	Epoch uint64
	Seq   uint64
}

// Kept is what is kept of one event's answer.
type Kept struct {
	Ident  uint64 // see Identity
	Result snapshot.Result
	At     int64 // unix seconds
}

// Binding is what is kept of a phone's binding.
type Binding struct {
	Exist bool
	At    int64 // unix seconds
}

// PhoneKey stands for a phone wherever bindings are kept: a bare hash of eleven
// digits is guessed in seconds, so it is keyed with the store's secret.
type PhoneKey [16]byte

// KeyOf returns a phone's key under a store's secret.
func KeyOf(secret []byte, p scan.Phone) PhoneKey {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(snapshot.NormalizePhone(p.Reveal())))
	return PhoneKey(mac.Sum(nil)[:16])
}

// Identity hashes what identifies an event within its depot.
func Identity(waybill scan.WaybillID, eventID string) uint64 {
	b := make([]byte, 0, 96)
	b = append(b, waybill...)
	b = append(b, 0)
	b = append(b, eventID...)
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:8])
}

// Call is one caller's part of a group: a batch, or imports.
type Call struct {
	Batch   snapshot.Batch
	Imports []snapshot.Import
}

// Size is how much work a call is.
func (c *Call) Size() int {
	n := len(c.Batch.Events) + len(c.Batch.Bindings) + len(c.Imports)
	for i := range c.Imports {
		n += len(c.Imports[i].Children)
	}
	return n
}

// Check tells what no store can take.
func (c *Call) Check() error {
	if len(c.Imports) == 0 && !c.Batch.Depot.Valid() {
		return fmt.Errorf("%q is no depot id", c.Batch.Depot)
	}
	for i := range c.Imports {
		if why := snapshot.BadID(c.Imports[i].Waybill); why != "" {
			return fmt.Errorf("item %d: %s", i, why)
		}
	}
	return nil
}

// Keys are what must be read before calls can be judged; some stand there twice.
// With a waybill that is a parcel's its mother must be read as well.
type Keys struct {
	Waybills []scan.WaybillID
	Numbers  []Number
	Depots   []scan.DepotID
}

// Needed returns what the calls of a group must be judged on, besides [Phones].
func Needed(calls []*Call) (k Keys) {
	for _, c := range calls {
		b := &c.Batch
		k.Depots = append(k.Depots, b.Depot)
		for i := range b.Events {
			k.Waybills = append(k.Waybills, b.Events[i].Waybill)
			k.Numbers = append(k.Numbers, Number{b.Depot, b.Epoch, b.Events[i].Seq})
		}
		for i := range b.Bindings {
			k.Waybills = append(k.Waybills, b.Bindings[i].Waybill)
		}
		for i := range c.Imports {
			k.Waybills = append(append(k.Waybills, c.Imports[i].Waybill), c.Imports[i].Children...)
		}
	}
	return k
}

// Phones returns the phones whose bindings a group needs: of the waybills that
// were observed, as they are in the facts or as the group itself brings them.
func Phones(calls []*Call, f Facts, secret []byte) (keys []PhoneKey) {
	observed := map[scan.WaybillID]bool{}
	add := func(id scan.WaybillID, data *scan.Waybill) {
		if data != nil && observed[id] {
			keys = append(keys, KeyOf(secret, data.Receiver.Phone))
		}
	}
	for _, c := range calls {
		for _, o := range c.Batch.Bindings {
			if observed[o.Waybill] = true; f.Waybills[o.Waybill].HasData() {
				add(o.Waybill, f.Waybills[o.Waybill].Data)
			}
		}
	}
	for _, c := range calls {
		for i := range c.Imports {
			add(c.Imports[i].Waybill, &c.Imports[i].Data)
		}
		for i := range c.Batch.Events {
			add(c.Batch.Events[i].Waybill, c.Batch.Events[i].Data)
		}
	}
	return keys
}

// View returns the binding as callers see it.
func (b Binding) View() *snapshot.Binding {
	return &snapshot.Binding{Exist: b.Exist, At: time.Unix(b.At, 0).UTC()}
}
