package durable

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Wear tells how many bytes a day were written to the medium of a folder since the boot
// and, of an eMMC, how much of its life is used at most, in per cent; 0: it is not known.
func Wear(dir string) (perDay int64, lifeUsed int) {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return 0, 0
	}
	block := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	stat, _ := ReadFile(filepath.Join(block, "stat")) // what cannot be read is not known
	up, _ := ReadFile("/proc/uptime")
	perDay, _ = writtenPerDay(string(stat), string(up))
	for _, place := range []string{"device", "../device"} { // of a whole medium, of a partition
		if life, err := ReadFile(filepath.Join(block, place, "life_time")); err == nil {
			if lifeUsed, ok := usedOf(string(life)); ok {
				return perDay, lifeUsed
			}
		}
	}
	return perDay, 0
}

// writtenPerDay reads how many bytes a day a block device was given since the boot
// (Documentation/block/stat.rst of Linux: the seventh number counts 512 bytes).
func writtenPerDay(stat, uptime string) (int64, bool) {
	fields, up := strings.Fields(stat), strings.Fields(uptime)
	if len(fields) < 7 || len(up) == 0 {
		return 0, false
	}
	sectors, err := strconv.ParseInt(fields[6], 10, 64)
	seconds, err2 := strconv.ParseFloat(up[0], 64)
	if err != nil || err2 != nil || !(seconds >= 60) {
		return 0, false
	}
	return int64(float64(sectors) * 512 / seconds * 86400), true
}

// usedOf reads an eMMC's word on itself, in per cent, of the worse of its two
// kinds of memory: 0x01 is up to 10, 0x0b more than 100 (JEDEC 84-B51).
func usedOf(text string) (percent int, ok bool) {
	for f := range strings.FieldsSeq(text) {
		n, err := strconv.ParseUint(f, 0, 8)
		if err == nil && n > 0 {
			percent, ok = max(percent, int(n)*10), true
		}
	}
	return percent, ok
}
