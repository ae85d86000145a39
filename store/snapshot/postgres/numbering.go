package postgres

import (
	"encoding/binary"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// encodeNumbering puts a depot's epochs in a row: each its number, its length, and
// the value as it stands in every store.
func encodeNumbering(depot scan.DepotID, d *judge.Numbering) (b []byte) {
	for i := range d.Epochs {
		e := &d.Epochs[i]
		value := values.EncodeEpoch(values.EpochKey(depot, e.Epoch), e)
		b = binary.BigEndian.AppendUint64(b, e.Epoch)
		b = binary.AppendUvarint(b, uint64(len(value)))
		b = append(b, value...)
	}
	return b
}

// decodeNumbering returns the epochs that can be read. Its error is damage.
func decodeNumbering(depot scan.DepotID, b []byte) (d *judge.Numbering, err error) {
	d = &judge.Numbering{}
	for len(b) > 0 {
		if len(b) < 9 {
			return d, values.ErrDamaged
		}
		epoch := binary.BigEndian.Uint64(b)
		size, n := binary.Uvarint(b[8:])
		if n <= 0 || size > uint64(len(b)-8-n) {
			return d, values.ErrDamaged
		}
		b = b[8+n:]
		if e, bad := values.DecodeEpoch(values.EpochKey(depot, epoch), b[:size]); bad != nil {
			err = bad
		} else {
			d.Epochs = append(d.Epochs, e)
		}
		b = b[size:]
	}
	return d, err
}
