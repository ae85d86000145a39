// Package textfile looks at the encoding of what people write: files from an editor
// that saves as GBK or UTF-16 must be refused with the line and the encoding, or
// what receivers read would be garbled.
//
// It promises that text which passes is UTF-8 without a byte order mark. It never
// converts anything.
package textfile
