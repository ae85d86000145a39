// Package tlstest issues certificates for tests: an authority with its files in a
// folder of the test. It must never be linked by the program.
package tlstest
