package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// proc reads what the kernel counts about a process.
type proc struct{ pid int }

// value returns the number after key in a file of /proc/PID, 0 if it is not
// there.
func (p proc) value(file, key string) int64 {
	for line := range strings.Lines(read(fmt.Sprintf("/proc/%d/%s", p.pid, file))) {
		name, rest, _ := strings.Cut(line, ":")
		if fields := strings.Fields(rest); name == key && len(fields) > 0 {
			n, err := strconv.ParseInt(fields[0], 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// written returns the bytes that it caused to be written to disk so far.
func (p proc) written() int64 { return p.value("io", "write_bytes") }

// anon and peakRSS return MiB.
func (p proc) anon() float64    { return float64(p.value("status", "RssAnon")) / 1024 }
func (p proc) peakRSS() float64 { return float64(p.value("status", "VmHWM")) / 1024 }

// cpu returns the processor time that it used so far.
func (p proc) cpu() time.Duration {
	_, rest, _ := strings.Cut(read(fmt.Sprintf("/proc/%d/stat", p.pid)), ") ") // the name may hold blanks
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11]) // the kernel writes numbers
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 everywhere
}

// watch samples the anonymous memory until stop, which returns the peak in MiB.
func (p proc) watch() (stop func() float64) {
	var peak atomic.Int64
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			peak.Store(max(peak.Load(), p.value("status", "RssAnon")))
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	return func() float64 {
		close(quit)
		<-gone
		return float64(peak.Load()) / 1024
	}
}

// fsyncTime returns what appending 4 KiB and fsync takes here, the median of
// many: the ground that all figures stand on.
func fsyncTime(dir string) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer f.Close() // its content does not matter
	var took []time.Duration
	for range 200 {
		begin := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begin))
	}
	return percentile(took, 50), nil
}
