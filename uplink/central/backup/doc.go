// Package backup makes archives of a centre on bbolt while it runs, on demand and
// by schedule, and puts one back.
//
// An archive (package store/snapshot/archive) holds the store at one moment, the
// registrations of depots and the audit log as they are right after it. What is personal
// in it is encrypted as in the store (in clear where an older scanrelay wrote it and it
// is not encrypted yet); the master key is not in it, nor any credential: [Restore] wants
// the right one. What was revoked since stands in a file beside the store, which
// [Restore] takes from where it was kept.
//
// Who makes a copy and who takes it are kept apart: no reader who stands still keeps
// the store's old pages for longer than a minute. A copy gets its name only when it
// is whole and on disk. [Restore] puts all in place or nothing, whenever it is
// killed: waybills.db comes last, and without it beside log.db no centre starts. A rollout
// that was on it pauses.
//
// It must never hold up a sync or a lookup, and never remove a copy of which no newer
// one is whole.
package backup
