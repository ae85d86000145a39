// Command scanrelay is the whole product: the depot agent, the centre, the demo
// and the commands that look inside, as subcommands of one program.
//
// It owns the command line: flags, exit codes, what is printed and how, the
// listeners, the signals, the notices to systemd. It decides nothing about
// events; what a subcommand does is in the package it calls. A file per
// subcommand; run.go holds what all of them go through, command.go and help.go
// the command tree, which is not cobra's for its size.
//
// Exit codes: 0 done; 1 it failed, with one clear line on stderr; 2 wrong usage.
//
// The build tag gateway leaves out central and demo: the other files must not
// import what only these need.
package main
