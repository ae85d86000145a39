package decode

import "testing"

func TestUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"\xff\xfeY\x00T\x00":               "YT",
		"\xfe\xff\x00Y\x00T":               "YT",
		"\xff\xfe\xe3\x53\x3d\xd8\x00\xde": "\u53e3\U0001f600",
		"\xff\xfeY":                        "\xff\xfeY",        // half a unit
		"\xff\xfe\x3d\xd8":                 "\xff\xfe\x3d\xd8", // half a character
		"YT69":                             "YT69",
		"":                                 "",
	} {
		if got := string(UTF8([]byte(in))); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
