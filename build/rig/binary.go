package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds scanrelay from the module around the working directory into dir
// and returns the path. With race, the race detector is in it: a race makes the
// process print it and exit with 66.
func Build(dir string, race bool) (string, error) {
	path, args, cgo := filepath.Join(dir, "scanrelay"), []string{"build"}, "CGO_ENABLED=0"
	if race {
		path, args, cgo = path+"-race", append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, "-buildvcs=false", "-o", path, "scanrelay/agent/cmd/scanrelay")...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build scanrelay: %w\n%s", err, out)
	}
	return path, nil
}
