// Package remote is the configuration that the centre gives a gateway: sources, stations,
// notify and the log's level. It fetches what a directive names, tries it, keeps it or
// takes it back, and tells the centre which.
//
// It promises that
//   - a configuration is kept only after scans were taken with it and the centre answered
//     a sync; else the one before is in use again: TestKept, TestTakenBack,
//     TestTakenBackOfAFileWithAMistake;
//   - that one is tried is on disk before, and the file from which an agent starts is
//     replaced only once it is kept, as a whole: an agent that ends in between starts
//     with the one before: TestPowerCuts;
//   - what was taken back is not tried again until the centre has another:
//     TestTakenBack.
//
// What a configuration may say, and whether it is right, package configs knows.
package remote
