package bolt

import (
	"bytes"
	"cmp"
	"encoding/binary"

	"scanrelay/store/snapshot/judge"
)

// number is the key of a log record.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// compareNumbers orders as the keys do.
func compareNumbers(x, y judge.Number) int {
	return cmp.Or(cmp.Compare(x.Depot, y.Depot), cmp.Compare(x.Epoch, y.Epoch), cmp.Compare(x.Seq, y.Seq))
}

func comparePhones(x, y judge.PhoneKey) int { return bytes.Compare(x[:], y[:]) }
