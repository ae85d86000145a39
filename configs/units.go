package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written 64MiB.
type Size int64

// Units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

var sizeUnits = []struct {
	suffix string
	bytes  Size
}{
	{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

// String writes the size in the largest binary unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits[:4] {
		if s != 0 && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// parseSize reads 64MiB and the like; a bare number is bytes.
func parseSize(text string) (Size, error) {
	digits, unit := strings.TrimSpace(text), Size(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(digits, u.suffix); ok {
			digits, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no size; write one as 64MiB (units B, KiB, MiB, GiB, TiB)", text)
	}
	if n != 0 && Size(n)*unit/unit != Size(n) {
		return 0, fmt.Errorf("%q is more than fits", text)
	}
	return Size(n) * unit, nil
}

// parsePrefix reads 10.0.0.0/8, or an address as the prefix that holds it alone.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%q is no address or prefix; write one as 10.0.0.1 or 10.0.0.0/8", text)
	}
	return p, nil
}

// Quota is so many in a time, written 10/m.
type Quota struct {
	Count int
	Per   time.Duration
}

// String writes it as parseQuota reads it.
func (q Quota) String() string {
	for unit, per := range quotaUnits {
		if per == q.Per {
			return strconv.Itoa(q.Count) + "/" + unit
		}
	}
	return fmt.Sprintf("%d per %s", q.Count, q.Per)
}

var quotaUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// parseQuota reads 10/m: so many per s, m or h.
func parseQuota(text string) (Quota, error) {
	count, unit, ok := strings.Cut(strings.TrimSpace(text), "/")
	n, err := strconv.Atoi(count)
	per := quotaUnits[unit]
	if !ok || err != nil || n < 1 || per == 0 {
		return Quota{}, errors.New(strconv.Quote(text) + " is no rate; write one as 10/m (per s, m or h)")
	}
	return Quota{Count: n, Per: per}, nil
}
