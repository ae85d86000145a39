package record

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Release is a version of the program, by its name and by what it is. The zero
// Release is the packaged one.
type Release struct {
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Length  int64  `json:"length"`
}

// IsPackaged reports whether it is the one of the package.
func (r Release) IsPackaged() bool { return r == Release{} }

// Check tells what is wrong with a release that is to be installed.
func (r Release) Check() error {
	if !validVersion(r.Version) {
		return fmt.Errorf("version %.80q: not one like 1.2.3 or 1.2.3-rc.1", r.Version)
	}
	if sum, err := hex.DecodeString(r.SHA256); err != nil || len(sum) != 32 || strings.ToLower(r.SHA256) != r.SHA256 {
		return fmt.Errorf("version %s: its sha256 is none", r.Version)
	}
	return nil
}

// maxVersion bounds a version's name, which is a folder's.
const maxVersion = 64

// validVersion reports whether a name is a semantic version.
func validVersion(v string) bool {
	core, pre, build := split(v)
	numbers := strings.Split(core, ".")
	for _, n := range numbers {
		if _, err := strconv.ParseUint(n, 10, 32); err != nil || len(n) > 1 && n[0] == '0' {
			return false
		}
	}
	return len(v) <= maxVersion && len(numbers) == 3 && validTail(v, "-", pre) && validTail(v, "+", build)
}

// validTail looks at what follows the mark, of a version that may do without.
func validTail(v, mark, tail string) bool {
	if tail == "" {
		return !strings.HasSuffix(v, mark) && !strings.Contains(v, mark+"+")
	}
	for part := range strings.SplitSeq(tail, ".") {
		if part == "" || strings.Trim(part, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
			return false
		}
	}
	return true
}

func split(v string) (core, pre, build string) {
	v, build, _ = strings.Cut(v, "+")
	core, pre, _ = strings.Cut(v, "-")
	return core, pre, build
}

// Newer reports whether version a comes after b in the order of semantic versions;
// what is none comes before all.
func Newer(a, b string) bool {
	if !validVersion(a) || !validVersion(b) {
		return validVersion(a) && !validVersion(b)
	}
	coreA, preA, _ := split(a)
	coreB, preB, _ := split(b)
	if order := compare(coreA, coreB); order != 0 {
		return order > 0
	}
	if preA == "" || preB == "" { // 1.0.0 comes after 1.0.0-rc.1
		return preA == "" && preB != ""
	}
	return compare(preA, preB) > 0
}

// compare compares dotted parts: numbers by value and before words, words as text;
// of two that begin alike the longer comes later.
func compare(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, errX := strconv.ParseUint(as[i], 10, 64)
		y, errY := strconv.ParseUint(bs[i], 10, 64)
		order := 0
		switch {
		case errX == nil && errY == nil:
			order = cmp.Compare(x, y)
		case errX == nil:
			order = -1
		case errY == nil:
			order = 1
		default:
			order = cmp.Compare(as[i], bs[i])
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Compare(len(as), len(bs))
}
