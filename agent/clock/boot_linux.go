package clock

import (
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var bootID = sync.OnceValue(func() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return processID()
	}
	return strings.TrimSpace(string(data))
})

// kernelSynced reports whether the kernel says that somebody, as an NTP client,
// keeps its clock right. Where it does not tell, nobody does.
func kernelSynced() bool {
	state, err := unix.Adjtimex(&unix.Timex{}) // changes nothing, and needs no privilege
	return err == nil && state != unix.TIME_ERROR
}

// kernelBoot reads the boot id and CLOCK_BOOTTIME. Where the kernel tells one
// of them not, the process stands in for the boot.
func kernelBoot() (string, time.Duration) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return processID(), time.Since(started)
	}
	return bootID(), time.Duration(ts.Nano())
}
