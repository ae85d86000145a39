package main

import (
	"os"
	"strings"
	"testing"
)

// root must not run on the folder of a service's user.
func TestRootKeepsOffAServicesFolder(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if err := ownedByUs(dir, 0); err == nil || !strings.Contains(err.Error(), dir+" belongs to user ") {
		t.Errorf("root on a folder of somebody else: %v", err)
	}
	for name, err := range map[string]error{
		"the user": ownedByUs(dir, 65534), "root on its own": ownedByUs("/", 0), "a folder to be made": ownedByUs(dir+"/none", 0),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
