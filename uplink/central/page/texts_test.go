package page

import "testing"

func TestTextsAgree(t *testing.T) {
	for lang, words := range texts {
		for _, other := range texts {
			for key := range other {
				if words[key] == "" {
					t.Errorf("%s lacks %q", lang, key)
				}
			}
		}
	}
}
