// Package values has the keys and values of the centre's files as bytes, each with
// its sum: waybills, records of the log, answers, numberings, bindings, and what was
// lost. ../README.md tells their forms.
//
// What it wrote it reads back, and what a version before wrote; of anything else it
// says that it is damaged, whatever the bytes, and takes no more memory than they
// are long. What is personal in a waybill or a record of the log is encrypted; what a
// store checks, judges, numbers and forgets by is not, so that a value which cannot be
// decrypted is told from a damaged one. It must never open a file.
package values
