package control

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// connection is a response whose connection writes until its deadline.
type connection struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (c *connection) SetWriteDeadline(t time.Time) error { c.deadline = t; return nil }

func (c *connection) FlushError() error {
	if time.Now().After(c.deadline) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (c *connection) Write(p []byte) (int, error) {
	if err := c.FlushError(); err != nil {
		return 0, err
	}
	return c.ResponseRecorder.Write(p)
}

// Only a reader that does not read is cut off, not one that waits for what is
// rare and long in coming.
func TestAStreamWaitsForItsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &connection{ResponseRecorder: httptest.NewRecorder()}
		(&local{}).stream(c, false, func(line func(any) error) error {
			for range 3 {
				time.Sleep(time.Minute)
				if err := line("rare"); err != nil {
					return err
				}
			}
			time.Sleep(time.Minute)
			return nil
		})
		if got := c.Body.String(); strings.Count(got, "rare") != 3 || c.FlushError() != nil {
			t.Errorf("it came to %q, and its end could be sent: %v", got, c.FlushError() == nil)
		}
	})
}
