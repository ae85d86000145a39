// Package cli is a small command line: a tree of commands with their flags, help,
// exit codes, tables that fit the terminal, completion for shells and manual pages.
// It knows nothing of scanrelay.
//
// It promises one clear line for whatever is wrong, and that no text from outside
// moves the cursor (Visible). It is our own because the gateway has no room for a
// command library: cobra made its binary 190 KB larger.
package cli
