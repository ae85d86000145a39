// Package centraltest runs a whole centre behind a server, with a store on disk
// and a WeChat account by script, for the tests of the centre's rooms: they see
// it as depots, the carrier's systems, WeChat and operators do. It must never
// reach around the HTTP API to make a test pass.
package centraltest
