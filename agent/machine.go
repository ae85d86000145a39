package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
)

// machineFiles name the machine. The serial number of a board is its own; the
// machine id is on the card and is cloned with it, but tells apart what has no
// serial number.
var machineFiles = []string{
	"/sys/firmware/devicetree/base/serial-number",
	"/etc/machine-id",
}

// machineID names this machine so that a card that was cloned or moved is
// noticed; "" where nothing names it.
func machineID() string {
	h, found := sha256.New(), false
	for _, path := range machineFiles {
		data, err := os.ReadFile(path)
		id := strings.Trim(string(data), "\x00 \r\n")
		if err == nil && id != "" {
			found = true
		}
		h.Write([]byte(path + "=" + id + "\n")) // a hash never returns an error
	}
	if !found {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
