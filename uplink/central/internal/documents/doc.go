// Package documents is the table that several processes of a centre share, in memory, for
// the tests of who keeps something in it. It must keep what the table of a database does:
// of several who put a document, one does.
package documents
