package scan

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strconv"
)

// DeriveEventID makes the event_id of an event whose scanner sent none, from
// waybill, action, device and the time as it was sent, before the clock rule
// changes it. The same read delivered twice gets the same.
func DeriveEventID(w WaybillID, a ActionType, sentTime, device string) string {
	h := sha256.New()
	for _, part := range []string{string(w), strconv.Itoa(int(a)), sentTime, device} {
		writePart(h, part)
	}
	return "d" + hex.EncodeToString(h.Sum(nil)[:12])
}

// DeriveWeakKey hashes topic, payload and the index of the element within the
// payload. Two equal keys are one event only if the second delivery has the
// DUP flag and came within ten minutes.
func DeriveWeakKey(topic string, payload []byte, index int) WeakKey {
	h := sha256.New()
	writePart(h, topic)
	writePart(h, string(payload))
	writePart(h, strconv.Itoa(index))
	return WeakKey(h.Sum(nil)[:16])
}

// writePart writes a part after its length, so that no two lists of parts
// hash alike. A hash never returns an error.
func writePart(h hash.Hash, part string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(part)))
	h.Write(n[:])
	h.Write([]byte(part))
}
