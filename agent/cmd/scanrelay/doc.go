// Command scanrelay is the whole product: the depot agent, the centre, the demo
// and the commands that look inside, as subcommands of one program.
//
// It owns the command line: flags, exit codes, what is printed and how, the
// listeners, the signals, the notices to systemd. It decides nothing about
// events; what a subcommand does is in the package it calls, how a command line
// works in agent/cmd/cli. A file per subcommand; inspect.go holds what those that
// look into an agent go through.
//
// Exit codes: 0 done; 1 it failed, with one clear line on stderr; 2 wrong usage.
//
// The build tag gateway leaves out central and demo: the other files must not
// import what only these need.
package main
