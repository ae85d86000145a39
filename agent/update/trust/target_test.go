package trust

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCompare(t *testing.T) {
	rising := []string{
		"", "0.0.1-dev", "0.0.1", "0.1.0-1", "0.1.0-2", "0.1.0-10", "0.1.0-dev", "0.1.0-rc", "0.1.0-rc.1", "0.1.0-rc.2", "0.1.0", "0.2.0", "0.10.0", "1.0.0", "10.0.0",
	}
	for i, a := range rising {
		for j, b := range rising {
			if got, want := Compare(a, b), min(max(i-j, -1), 1); got != want {
				t.Errorf("Compare(%q, %q) = %d", a, b, got)
			}
		}
	}
	for _, c := range [][2]string{{"1.0.0+a", "1.0.0+b"}, {"dev", "1.0"}, {"1.0.0-RC", "v1.0.0"}} {
		if Compare(c[0], c[1]) != 0 {
			t.Errorf("%q and %q are not alike", c[0], c[1])
		}
	}
}

// chosen walks all the way as a gateway does, one trial each.
func chosen(v Verified, machine, current, wanted string) (way []string, err error) {
	m := strings.Split(machine+"/", "/")
	for {
		next, err := v.Choose("scanrelay", m[0], m[1], m[2], current, wanted)
		if err != nil {
			return way, err
		}
		current = next.Version
		way = append(way, next.Version+" "+next.Machine())
		if current == wanted {
			return way, nil
		}
	}
}

func TestChoose(t *testing.T) {
	release := func(version, machine, minFrom string) Target {
		m := strings.Split(machine+"/", "/")
		return Target{Name: "scanrelay", Version: version, OS: m[0], Arch: m[1], GOARM: m[2], MinFrom: minFrom}
	}
	const v6, v7, a64 = "linux/arm/6", "linux/arm/7", "linux/arm64"
	v := Verified{Targets: []Target{
		release("1.0.0", v6, ""), release("1.1.0", v6, ""), release("1.2.0", v6, "1.0.0"), release("1.10.0", v6, "1.2.0"),
		release("2.0.0", v6, "1.2.0"), release("2.1.0", v6, "2.0.0"), release("2.1.0", v7, "2.0.0"), release("4.0.0", v6, "3.0.0"),
		release("2.1.0", a64, ""), {Name: "other", Version: "9.0.0", OS: "linux", Arch: "arm64"},
	}}
	for _, c := range []struct{ machine, current, wanted, want string }{
		{v6, "0.9.0", "1.0.0", "1.0.0 linux/arm/6"},
		{v6, "0.9.0", "2.1.0", "1.1.0 linux/arm/6, 1.2.0 linux/arm/6, 2.0.0 linux/arm/6, 2.1.0 linux/arm/6"},
		{v6, "1.2.0", "2.1.0", "2.0.0 linux/arm/6, 2.1.0 linux/arm/6"},
		{v6, "1.2.0", "1.10.0", "1.10.0 linux/arm/6"},
		{v7, "1.2.0", "2.1.0", "2.0.0 linux/arm/6, 2.1.0 linux/arm/7"},
		{a64, "dev", "", "2.1.0 linux/arm64"},
		{v6, "2.1.0", "", "4.0.0 needs 3.0.0 to run before it, and no step leads there from 2.1.0"},
		{v6, "1.1.0", "4.0.0", "no step leads there from 2.1.0"},
		{v6, "2.0.0", "1.2.0", "1.2.0 is older than 2.0.0, which runs"},
		{v6, "2.0.0", "2.0.0", "nothing to install: 2.0.0 runs"},
		{a64, "3.0.0", "", "nothing to install: 3.0.0 is newer"},
		{a64, "2.1.0+abc", "", "nothing to install"},
		{v6, "1.0.0", "1.5.0", "there is no 1.5.0 for linux/arm/6"},
		{"linux/arm/5", "1.0.0", "", "there is none for linux/arm/5; there is linux/arm/6, linux/arm/7, linux/arm64"},
		{"linux/amd64", "1.0.0", "2.1.0", "there is none for linux/amd64"},
		{"windows/arm64", "1.0.0", "2.1.0", "there is none for windows/arm64"},
	} {
		way, err := chosen(v, c.machine, c.current, c.wanted)
		if c.wanted == "" && len(way) == 1 {
			err = nil
		}
		got := strings.Join(way, ", ")
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s from %s to %q: %s", c.machine, c.current, c.wanted, got)
		}
		if err != nil && errors.Is(err, ErrNothing) == errors.Is(err, ErrRefused) {
			t.Errorf("%s from %s to %q is neither or both: %v", c.machine, c.current, c.wanted, err)
		}
	}
}

// TestChooseNeverBack tries many releases by chance: each step is newer and may be
// taken, and whoever gets none could not get there.
func TestChooseNeverBack(t *testing.T) {
	r := chance(1)
	for range 2000 {
		var v Verified
		for i := range 8 {
			if r.IntN(4) == 0 {
				continue
			}
			target := Target{Name: "scanrelay", Version: fmt.Sprintf("1.%d.0", i), OS: "linux", Arch: "arm64"}
			if n := r.IntN(i + 1); n > 0 {
				target.MinFrom = fmt.Sprintf("1.%d.0", n-1)
			}
			v.Targets = append(v.Targets, target)
		}
		current, wanted := fmt.Sprintf("1.%d.0", r.IntN(8)), fmt.Sprintf("1.%d.0", r.IntN(8))
		way, err := chosen(v, "linux/arm64", current, wanted)
		at := current
		for _, step := range way {
			version, _, _ := strings.Cut(step, " ")
			i := slices.IndexFunc(v.Targets, func(t Target) bool { return t.Version == version })
			if Compare(version, at) <= 0 || Compare(version, wanted) > 0 || v.Targets[i].MinFrom != "" && Compare(v.Targets[i].MinFrom, at) > 0 {
				t.Fatalf("%v from %s to %s: %v", v.Targets, current, wanted, way)
			}
			at = version
		}
		if err == nil && at != wanted || errors.Is(err, ErrRefused) && len(way) > 0 {
			t.Fatalf("%v from %s to %s ended at %s: %v", v.Targets, current, wanted, at, err)
		}
	}
}

func TestTargetsAreRead(t *testing.T) {
	w := newWorld()
	c := Custom{Name: "scanrelay", Version: "1.1.0", OS: "linux", Arch: "arm", GOARM: "6", MinFrom: "1.0.0", Store: &Range{2, 3}, Protocol: &Range{1, 2}}
	w.add(c, []byte("program two"))
	c.MinFrom, c.Store, c.Protocol = "", nil, nil
	c.Delta = &Source{From: "1.0.0", SHA256: hexSum([]byte("program one"))}
	w.add(c, []byte("delta"))
	w.targets["notes.txt"] = object{"length": 5, "hashes": object{"sha256": hexSum([]byte("notes"))}}
	w.publish()
	v, err := Verify(t.Context(), w.files, w.state(t), time.Time{})
	if err != nil || len(v.Targets) != 3 {
		t.Fatal(v.Targets, err)
	}
	got, err := v.Choose("scanrelay", "linux", "arm", "7", "1.0.0", "")
	if err != nil {
		t.Fatal(err)
	}
	want := Target{
		Name: "scanrelay", Version: "1.1.0", OS: "linux", Arch: "arm", GOARM: "6", Length: 11, SHA256: hexSum([]byte("program two")),
		MinFrom: "1.0.0", Store: Range{2, 3}, Protocol: Range{1, 2},
		Deltas: []Delta{{From: "1.0.0", FromSHA256: hexSum([]byte("program one")), Length: 5, SHA256: hexSum([]byte("delta"))}},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v", got)
	}
}

func TestCustomValid(t *testing.T) {
	good := Custom{Name: "scanrelay", Version: "1.1.0", OS: "linux", Arch: "arm", GOARM: "6", MinFrom: "1.0.0"}
	if err := good.Valid(); err != nil {
		t.Fatal(err)
	}
	for name, wrong := range map[string]func(*Custom){
		"name":            func(c *Custom) { c.Name = "../x" },
		"os":              func(c *Custom) { c.OS = "" },
		"arch":            func(c *Custom) { c.Arch = "ARM" },
		"no GOARM":        func(c *Custom) { c.GOARM = "" },
		"GOARM":           func(c *Custom) { c.GOARM = "8" },
		"GOARM elsewhere": func(c *Custom) { c.Arch = "arm64" },
		"version":         func(c *Custom) { c.Version = "1.1" },
		"build":           func(c *Custom) { c.Version = "1.1.0+x" },
		"min_from":        func(c *Custom) { c.MinFrom = "x" },
		"min_from ahead":  func(c *Custom) { c.MinFrom = "1.1.0" },
		"delta ahead":     func(c *Custom) { c.Delta = &Source{From: "1.2.0"} },
		"delta's hash":    func(c *Custom) { c.Delta = &Source{From: "1.0.0", SHA256: "XY"} },
	} {
		c := good
		wrong(&c)
		if c.Valid() == nil {
			t.Errorf("%s: %+v passes", name, c)
		}
	}
}
