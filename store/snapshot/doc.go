// Package snapshot is the contract of the centre's state of all waybills: what
// answers WeChat's reverse lookup and tells each depot what became of its
// events. [Store] is the contract; package snapshottest holds any store to it.
//
// Every store decides, once and durably, whether an event is taken, late or a
// duplicate, by the rules of package judge. It must never answer a batch before
// that batch is on disk, never speak to WeChat or a depot, and never log what is
// in a waybill.
//
// Package bolt is the store of one process, package postgres that of several.
// README.md has the formats and what a copy or damage does.
package snapshot
