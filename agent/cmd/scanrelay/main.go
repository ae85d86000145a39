package main

import (
	"os"
	"time"
)

// lastChance is how long the program may still take after a second signal.
const lastChance = time.Second

func main() {
	stop, abort, release := signals()
	ended := make(chan int, 1)
	go func() { ended <- run(stop, abort, os.Args[1:], standard()) }()
	code := 1
	select {
	case code = <-ended:
	case <-abort:
		select {
		case code = <-ended:
		case <-time.After(lastChance):
		}
	}
	release()
	os.Exit(code)
}
