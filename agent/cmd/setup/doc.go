// Package setup is "scanrelay init": it asks what a new gateway or centre cannot
// know by itself, tries what was answered, and writes a short configuration that
// passes check.
//
// It promises that
//   - nothing is written before all is answered and the configuration is one that
//     the program starts with: TestRefused;
//   - no file that is there is overwritten without --force: TestNeverOverwrites;
//   - the key of a centre's database is overwritten by nothing, --force included:
//     TestInitOnADatabase;
//   - no secret stands in the configuration itself: each has a file of its own,
//     mode 0640, for the service's group: TestInit, TestInitOnADatabase;
//   - flags answer every question, so that it needs no terminal: TestInit.
//
// It speaks Chinese where the locale does, else English. It must never start a
// service, nor send a token anywhere.
package setup
