// Package clock decides whether the gateway's wall clock can be believed, and
// tells moments that need no wall clock: the kernel's boot id and the time since
// that boot (uplink/README.md, Clock rule).
//
// Many gateways have no battery clock: they start in 1970, or with the time of
// their last stop, which looks right, and jump to today when the network comes.
// Until somebody has confirmed the clock in this boot events are stored with boot
// id and time since boot, and nothing is synced or pushed.
//
// The wall clock is believable when it is
//   - not before the build date, and
//   - within five minutes of the centre's clock, where that was heard, or else
//   - confirmed by the kernel, which knows whether an NTP client keeps it right
//     (adjtimex), and not before the newest time in the store.
//
// The centre's word outweighs the store's newest time: a store that once took
// events under a clock far ahead would otherwise hold all events back until that
// moment comes. What either said is carried on by the time since boot, so a wall
// clock that is set wrong later is noticed too, and one that loses touch with who
// keeps it right is believed on. A kernel that does not tell (chrony without
// rtcsync, a filter of system calls) leaves it to the centre.
//
// The package reads clocks and /proc; it never sets a clock, and never corrects
// one: times are as the machine tells them or not believed.
package clock
