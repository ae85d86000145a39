// Package index knows where every event of the outbox stands that is not
// finished: unsynced, waiting for waybill data, to be pushed, leased, tried and
// due again. It chooses what is leased next.
//
// It owns what is in memory of events. The census knows every pending number by
// a few bits; entries, 32 bytes each, are held of those in two windows,
// the youngest and the oldest; the rest is on disk and brought in as they drain.
// README.md of package store draws it.
//
// It promises:
//   - one leased event per waybill, the first pending one, wherever the others
//     are; fresh before stale;
//   - nothing leased before the watermark has passed it;
//   - memory is bounded, whatever waits, fails or is scanned over and over;
//   - a lease that ran out is seen, also where another one holds by then.
//
// It must never do I/O by itself: it reads disk by the two interfaces that it
// declares, Events and Waybills, and never while it holds its lock. It must not
// know of files, commits, or what an answer of WeChat's means.
package index
