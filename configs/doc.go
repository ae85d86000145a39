// Package configs is the configuration of both roles: its structs, how a file
// and the environment become them, what is checked, and the annotated example
// files, which a test loads.
//
// It owns the words of the configuration and the sentences an operator reads when
// one of them is wrong. What a value may be is asked of the package that knows.
//
// # Where a value comes from
//
// Environment beats file beats default. A key a.b is SCANRELAY_A_B in the
// environment; lists and maps are YAML there. Each secret may be given as
// <key>_file instead: the trimmed content of that file. Paths are taken as they
// stand, relative ones from the working directory.
//
// # Problems
//
// Loading goes on after a mistake, so that one run shows all of them, each with
// the line of its key. The structs of a load that has errors must not be used.
// What is suspicious but works is a warning.
//
// Secrets print masked (type secret.Text), whatever prints them.
package configs
