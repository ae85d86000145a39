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

// kernelBoot reads the boot id and CLOCK_BOOTTIME. Where the kernel tells one
// of them not, the process stands in for the boot.
func kernelBoot() (string, time.Duration) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return processID(), time.Since(started)
	}
	return bootID(), time.Duration(ts.Nano())
}
