package shared

import (
	"encoding/binary"

	"scanrelay/agent/scan"
)

// packed is waybill data as one text: by itself each of its many short ones would
// take thrice the memory.
type packed string

func pack(w *scan.Waybill) packed {
	b := binary.AppendVarint(make([]byte, 0, 256), w.CreateTime)
	for _, t := range texts(w) {
		b = append(binary.AppendUvarint(b, uint64(len(*t))), *t...)
	}
	return packed(b)
}

func (p packed) unpack() (w scan.Waybill) {
	var head [binary.MaxVarintLen64]byte
	w.CreateTime, _ = binary.Varint(head[:copy(head[:], p)])
	rest := p[len(binary.AppendVarint(head[:0], w.CreateTime)):]
	for _, t := range texts(&w) {
		n, used := binary.Uvarint(head[:copy(head[:], rest)])
		*t, rest = string(rest[used:used+int(n)]), rest[used+int(n):]
	}
	return w
}

// texts are all in a waybill's data.
func texts(w *scan.Waybill) (all [16]*string) {
	for i, p := range []*scan.Party{&w.Sender, &w.Receiver} {
		copy(all[i*8:], []*string{
			(*string)(&p.Name), (*string)(&p.Phone), (*string)(&p.Province), (*string)(&p.City),
			(*string)(&p.Area), (*string)(&p.Street), (*string)(&p.Address), (*string)(&p.ID),
		})
	}
	return all
}
