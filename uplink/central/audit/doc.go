// Package audit keeps who did what at the centre, and when: lines of JSON that are
// only ever added, in data_dir. An entry is on disk when Add returns. The file is
// begun anew at 8 MiB, and four older ones are kept.
//
// It must never hold a credential or anything of a person: free texts are masked,
// and waybills are named by their numbers only.
package audit
