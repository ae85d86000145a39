package intake

import "hash/crc32"

// ClientOf returns who sends as scan.Batch has it: the client with an id at a host. Two
// may come to the same by chance; then they share their room, too.
func ClientOf(host, id string) uint16 {
	hash := func(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }
	return max(uint16(hash(host)<<6|hash(host+"\x00"+id)%(1<<6)), 1)
}
