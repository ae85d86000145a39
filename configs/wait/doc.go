// Package wait lets time pass: it sleeps until a context ends and spaces the
// tries of what fails. All spacing has full jitter, the whole range from now to
// a bound, so that many who failed together do not come back together.
package wait
