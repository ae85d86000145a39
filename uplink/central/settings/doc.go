// Package settings keeps the configurations that operators give to gateways from here:
// sources, stations, notify and the log's level, each under a name, for the depots that a
// selector names. A gateway is told of one with its syncs, fetches and tries it, keeps it
// or takes it back, and says which.
//
// Each put gets a revision, which rises over all names; of several that name a depot the
// most exact counts: its id before its site before a label, then the highest revision. A
// configuration holds no credential, no address and nothing personal: what may stand in one
// is checked by the validator of the gateway's own file.
package settings
