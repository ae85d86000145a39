package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds scanrelay from the tree around the working directory into dir
// and returns the path. With race, the race detector is in it: a race makes the
// process print it and exit with 66.
func Build(dir string, race bool) (string, error) {
	folder, err := top()
	if err != nil {
		return "", err
	}
	path, args := filepath.Join(dir, "scanrelay"), []string{"build"}
	env := append(os.Environ(), "CGO_ENABLED=0")
	if race {
		path, args = path+"-race", append(args, "-race")
		env = append(os.Environ(), "CGO_ENABLED=1")
	}
	cmd := exec.Command("go", append(args, "-buildvcs=false", "-o", path, "./agent/cmd/scanrelay")...)
	cmd.Dir, cmd.Env = folder, env
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build scanrelay: %w\n%s", err, out)
	}
	return path, nil
}

// top returns the folder of the module's go.mod.
func top() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("ask go for the module: %w", err)
	}
	path := strings.TrimSpace(string(out))
	if path == "" || path == os.DevNull {
		return "", errors.New("not inside the module")
	}
	return filepath.Dir(path), nil
}
