package main

import "os"

func main() {
	stop, abort, release := signals()
	code := run(stop, abort, os.Args[1:], standard())
	release()
	os.Exit(code)
}
