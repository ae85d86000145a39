// Package update has the commands of a gateway's own versions: "scanrelay launch",
// which systemd starts, and "scanrelay update …": what there is, a bundle installed by
// hand, back, hold and release, and root's part, which scanrelay-install.service starts.
//
// It promises that
//   - every look works whether an agent runs or not, and changes nothing: TestStatus;
//   - nothing is installed but by root's part, by which a person has no shorter way than
//     an agent: TestApply;
//   - what cannot be read is said, with what counts in its place: TestStatus;
//   - "update check" says of any repository what a gateway would: TestCheck.
//
// It decides nothing: packages launch, install and trial do.
package update
