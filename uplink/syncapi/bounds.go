package syncapi

// Bounds of one request; the centre answers 413 above them. The agent halves a
// batch that was refused whole.
const (
	MaxEvents    = 2000 // together with what is asked for
	MaxAsk       = 2000
	MaxWaiting   = 5000
	MaxBindings  = 2000
	MaxBodyBytes = 8 << 20 // after gunzip
	MaxSeq       = 1 << 53 // numbers above are nobody's
)

// MaxList is what no list of a sound request or answer comes to.
const MaxList = 2 * MaxWaiting

// LongestList counts the elements of the longest list in a JSON object, before it is
// decoded: of some megabytes of "{}," more than a gigabyte of events would be made.
func LongestList(body []byte) (longest int) {
	depth, n, text := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{', c == '[':
			if depth++; depth == 2 {
				n = 1
			}
		case c == ',' && depth == 2:
			n++
		case c == '}', c == ']':
			if depth == 2 {
				longest = max(longest, n)
			}
			depth--
		}
	}
	return longest
}
