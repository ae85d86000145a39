package rig

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds scanrelay from the module around the working directory into dir
// and returns the path. "race" builds it with the race detector: a race makes the
// process print it and exit with 66. "clock" builds one whose wall clock is off by
// what Options say, "arm" and "arm64" what gateways with such processors get, a number
// of a version one that calls itself so; "" builds it as it is delivered.
func Build(dir, how string) (string, error) {
	path := filepath.Join(dir, "scanrelay"+how)
	args, env := []string{"build", "-buildvcs=false", "-o", path}, []string{"CGO_ENABLED=0"}
	switch how {
	case "race":
		args, env = append(args, "-race"), []string{"CGO_ENABLED=1"}
	case "arm", "arm64":
		args, env = append(args, "-tags", "gateway"), append(env, "GOARCH="+how, "GOARM=6")
	case "clock":
		overlay, err := clockOverlay(dir)
		if err != nil {
			return "", fmt.Errorf("build a clock: %w", err)
		}
		args = append(args, "-overlay", overlay)
	case "":
	default:
		args = append(args, "-ldflags", "-X main.version="+how)
	}
	cmd := exec.Command("go", append(args, "scanrelay/agent/cmd/scanrelay")...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build scanrelay: %w\n%s", err, out)
	}
	return path, nil
}

// clockFile names, in the environment, the file that holds by how many seconds a
// clock is off: 8 bytes in the machine's order.
const clockFile = "RIG_CLOCK"

// clockSource is added to package time: the file is mapped, so that a clock jumps
// at once.
const clockSource = `package time

import (
	"syscall"
	"unsafe"
)

var rigOff = mapOff()

func mapOff() *int64 {
	name, ok := syscall.Getenv("` + clockFile + `")
	if !ok {
		return new(int64)
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY, 0)
	if err != nil {
		panic(err)
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*int64)(unsafe.Pointer(&b[0]))
}
`

// clockOverlay makes a package time, for go build, whose Now asks that file.
func clockOverlay(dir string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("ask for GOROOT: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		return "", err
	}
	const reads = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), reads) != 1 {
		return "", errors.New("this Go's time.Now is not as it was: mend build/rig")
	}
	changed, added, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "off.go"), filepath.Join(dir, "overlay.json")
	places, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(source, "time.go"): changed, filepath.Join(source, "off.go"): added,
	}})
	return overlay, errors.Join(err,
		os.WriteFile(changed, []byte(strings.Replace(string(text), reads, reads+"\tsec += *rigOff\n", 1)), 0o600),
		os.WriteFile(added, []byte(clockSource), 0o600),
		os.WriteFile(overlay, places, 0o600))
}
