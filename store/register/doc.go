// Package register tells which events of a segment are of a waybill, without
// reading them.
//
// It owns the register's file and its entries in memory. It promises that a file
// that is damaged, old, or of something else is noticed, and that nothing is
// lost with it: a register is made again of its segment. It must never be what
// anything is kept in, nor hold a waybill number in clear.
package register
