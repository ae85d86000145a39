// Package clock decides whether the gateway's wall clock can be believed, and
// tells moments that need no wall clock: the kernel's boot id and the time since
// that boot (uplink/README.md, Clock rule).
//
// Many gateways have no battery clock: they start in 1970 and jump to today when
// the network comes. Until then events are stored with boot id and time since
// boot, and nothing is synced or pushed.
//
// The wall clock is believable when it is
//   - not before the build date, and
//   - within five minutes of the centre's clock, where that is known, or else
//   - not before the newest time in the store.
//
// The centre's word outweighs the store's newest time: a store that once took
// events under a clock far ahead would otherwise hold all events back until that
// moment comes. What the centre said is carried on by the time since boot, so a
// wall clock that is set wrong later is noticed too.
//
// The package reads clocks and /proc; it never sets a clock, and never corrects
// one: times are as the machine tells them or not believed.
package clock
