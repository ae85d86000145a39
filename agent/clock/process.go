package clock

import (
	"crypto/rand"
	"sync"
	"time"
)

// started is when this process began, with its monotonic reading.
var started = time.Now()

// processID stands in for the boot id where the kernel has none: other
// processes' clockless times then count as those of an earlier boot.
var processID = sync.OnceValue(func() string { return "process-" + rand.Text() })
