package durable

import "testing"

func TestWear(t *testing.T) {
	if n, ok := writtenPerDay("1 2 3 4 5 6 2048 8 9 10 11", "86400.00 1.0"); !ok || n != 1<<20 {
		t.Errorf("a MiB in a day is %d a day, %v", n, ok)
	}
	for _, bad := range [][2]string{{"", "86400 1"}, {"1 2 3 4 5 6 x", "86400 1"}, {"1 2 3 4 5 6 7", ""}, {"1 2 3 4 5 6 7", "59 1"}, {"1 2 3 4 5 6 7", "NaN"}} {
		if n, ok := writtenPerDay(bad[0], bad[1]); ok {
			t.Errorf("%q is %d a day", bad, n)
		}
	}
	for text, want := range map[string]int{"0x01 0x01\n": 10, "0x02 0x0b\n": 110, "0x00 0x00\n": 0, "": 0, "x 0x1ff": 0} {
		if got, _ := usedOf(text); got != want {
			t.Errorf("%q is %d %%, want %d", text, got, want)
		}
	}
}
