package decode

import (
	"strconv"
	"strings"
)

// maxExponent bounds how far an exponent is written out.
const maxExponent = 40

// Digits returns a JSON number with its digits kept. An integer written with an
// exponent or a zero fraction (7.8636098066239e13, 12.0) is written out; any
// other number stays as it was sent.
func Digits(number string) string {
	mantissa, exponent, hasExponent := cutAny(number, "eE")
	whole, fraction, hasFraction := strings.Cut(mantissa, ".")
	if !hasExponent && !hasFraction {
		return number
	}
	shift := 0
	if hasExponent {
		n, err := strconv.Atoi(exponent)
		if err != nil || n < -maxExponent || n > maxExponent {
			return number
		}
		shift = n
	}
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	fraction = strings.TrimRight(fraction, "0")
	for ; shift > 0; shift-- {
		next := "0"
		if fraction != "" {
			next, fraction = fraction[:1], fraction[1:]
		}
		whole += next
	}
	for ; shift < 0 && whole != ""; shift++ {
		if whole[len(whole)-1] != '0' {
			return number
		}
		whole = whole[:len(whole)-1]
	}
	if fraction != "" || whole == "" {
		return number
	}
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		return "0"
	}
	return sign + whole
}

func cutAny(s, chars string) (before, after string, found bool) {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}
