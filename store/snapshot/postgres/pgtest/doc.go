// Package pgtest starts PostgreSQL for tests: instances of their own, each in a
// temporary folder and reached over a socket there, which end with the test
// program however it ends. It must never touch an instance of the system.
//
// A test program calls [Main] in its TestMain and has one instance, made when the
// first test asks for a [Database], which each test has for itself. Tests that
// kill or restart an instance make one of their own with [New], and with
// [Server.Standby] one that follows it.
package pgtest
