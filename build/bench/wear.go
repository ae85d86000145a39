package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"scanrelay/build/rig"
)

// depot is a site whose agent has a disk of its own, where the machine gives one.
type depot struct {
	*rig.Site
	rate   int
	dir    string
	device string // as the kernel counts what is written to it; "": the process's count
	all    []rig.Scan
	log    func(string, ...any)
}

// wear measures what the flash has to take for a scan from its message to its
// outcome, at rates of quiet and of busy depots. They run at the same time: what
// they write goes to disks of their own, and their load is small.
func (b *bench) wear() {
	goals := map[int]string{1: "<= 18,000", 10: "<= 12,000", 100: "<= 4,000"}
	var depots []*depot
	for _, rate := range []int{1, 10, 100} {
		depots = append(depots, b.depot(rate))
	}
	var all sync.WaitGroup
	for _, d := range depots {
		all.Go(func() {
			before, cpu, centre := d.written(), proc{d.Agent.PID()}.cpu(), proc{d.Central.PID()}.cpu()
			s := d.Scanner("steady")
			s.Rate = d.rate
			if err := s.Publish(b.Context(), d.all); err != nil {
				b.Errorf("publish: %v", err)
				return
			}
			d.Drain()
			n := len(d.all)
			where := "at the block device"
			if d.device == "" {
				where = "by the process (no disk of its own here)"
			}
			b.lock.Lock()
			defer b.lock.Unlock()
			b.add(fmt.Sprintf("bytes written per event at %d a second, scan to outcome, %s", d.rate, where), goals[d.rate], "%d", (d.written()-before)/int64(n))
			target := ""
			if d.rate == 100 {
				target = "agent <= 1 ms"
			}
			b.add(fmt.Sprintf("processor per event at %d a second", d.rate), target, "agent %v, centre %v",
				(proc{d.Agent.PID()}.cpu()-cpu)/time.Duration(n), (proc{d.Central.PID()}.cpu()-centre)/time.Duration(n))
		})
	}
	all.Wait()
	if b.Failed() {
		panic(gaveUp{})
	}
}

// depot starts a site that has seen each of its waybills once.
func (b *bench) depot(rate int) *depot {
	d := &depot{rate: rate, log: b.Logf}
	d.dir, d.device = b.mount()
	d.Site = b.site(rig.Options{AgentData: filepath.Join(d.dir, "agent")})
	d.Start()
	parcels, all := scans(fmt.Sprintf("W%d", rate), max(4, int(b.steady.Seconds())*rate/4*4))
	d.all = all
	d.Import(parcels)
	publish(b, d.Site, earlier(parcels), 10, 50)
	d.Drain()
	return d
}

// mount makes an ext4 of its own and returns where it is, and its device's name; ""
// where the machine does not let us.
func (b *bench) mount() (dir, device string) {
	dir = b.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	for _, args := range [][]string{
		{"mkdir", at}, {"truncate", "-s", "1G", image},
		{"mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image}, {"mount", "-o", "loop", image, at},
	} {
		if out, err := exec.CommandContext(b.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			b.Logf("no disk of its own: %v: %v %s", args, err, out)
			return dir, ""
		}
	}
	b.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			b.Logf("unmount: %v %s", err, out)
		}
	})
	for line := range strings.Lines(read("/proc/self/mounts")) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == at {
			return at, filepath.Base(f[0])
		}
	}
	return at, ""
}

// written is what was written to the depot's disk so far, or what its agent caused
// to be.
func (d *depot) written() int64 {
	if d.device == "" {
		return proc{d.Agent.PID()}.written()
	}
	if err := exec.Command("sync", "-f", d.dir).Run(); err != nil {
		d.log("sync: %v", err) // what is not counted yet is so soon
	}
	var sectors int64
	if f := strings.Fields(read("/sys/block/" + d.device + "/stat")); len(f) > 6 {
		fmt.Sscan(f[6], &sectors)
	}
	return sectors * 512
}
