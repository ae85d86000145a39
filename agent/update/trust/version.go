package trust

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// version is a semantic one, without what is behind a +, which orders nothing.
type version struct {
	numbers [3]int64
	pre     []string
}

// semantic is how versions are written here: in small letters, as paths are.
var semantic = regexp.MustCompile(`^(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([0-9a-z.-]{1,64}))?(?:\+[0-9a-z.-]{1,64})?$`)

func parse(s string) (v version, err error) {
	m := semantic.FindStringSubmatch(s)
	if m == nil {
		return v, fmt.Errorf("%.40q is no version such as 1.2.3", s)
	}
	for i := range v.numbers {
		v.numbers[i], _ = strconv.ParseInt(m[i+1], 10, 64) // the pattern saw to it
	}
	if m[4] != "" {
		v.pre = strings.Split(m[4], ".")
	}
	return v, nil
}

// Compare orders two versions by semantic versioning; what is none comes first.
func Compare(a, b string) int {
	va, badA := parse(a)
	vb, badB := parse(b)
	if badA != nil || badB != nil {
		return cmp.Compare(rank(badA), rank(badB))
	}
	for i := range va.numbers {
		if c := cmp.Compare(va.numbers[i], vb.numbers[i]); c != 0 {
			return c
		}
	}
	if len(va.pre) == 0 || len(vb.pre) == 0 { // 1.0.0-rc.1 comes before 1.0.0
		return cmp.Compare(len(vb.pre), len(va.pre))
	}
	for i := range min(len(va.pre), len(vb.pre)) {
		if c := identifiers(va.pre[i], vb.pre[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(va.pre), len(vb.pre))
}

func rank(bad error) int {
	if bad != nil {
		return 0
	}
	return 1
}

// identifiers orders parts of pre-releases: numbers by their value and before words.
func identifiers(a, b string) int {
	na, badA := strconv.ParseUint(a, 10, 64)
	nb, badB := strconv.ParseUint(b, 10, 64)
	if badA == nil && badB == nil {
		return cmp.Compare(na, nb)
	}
	if c := cmp.Compare(rank(badB), rank(badA)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}
