// Package textfile reads what people write, and looks at its encoding: files from an editor
// that saves as GBK or UTF-16 must be refused with the line and the encoding, or
// what receivers read would be garbled.
//
// It promises that text which passes is UTF-8 without a byte order mark, and that no
// file is read without a bound or waited for without an end: TestRead, TestReadOfAPipe.
// It never converts anything.
package textfile
