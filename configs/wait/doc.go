// Package wait lets time pass: it sleeps until a context ends, wakes another
// goroutine, spaces the tries of what fails, bounds how often something is done,
// tells whether a loop moves, and reads how long people or the other side say to wait, and which part of the day.
// All spacing has full jitter, the whole range from now to a bound, so that many who failed together do not come
// back together.
package wait
