// Package trial is the running agent's part in its own updates: it says whether a
// candidate passes, whether the version that was gone back to does better, when a
// candidate is tried, and asks root to write down what came of it.
//
// It promises that
//   - a candidate is committed only once scans are taken, the loops move and the centre
//     has answered a sync of this process, all within its time: TestTrial. What ends
//     before, launch goes back from;
//   - a candidate is called bad only if the version before does what it did not do, and
//     nothing else, as a power cut, may be at fault: TestVerdict;
//   - a trial begins only within a minute of contact with the centre, while nothing
//     holds, at a quiet moment, which is waited for a minute at most: TestBegins;
//   - what was decided is on disk before root is asked, and root is asked until its
//     record says so, whatever ends the process in between: TestAsksUntilAnswered.
//
// Decisions are values ([Decide]); time is that of the boot, since a gateway's wall clock
// may jump. It must never start a program, nor write to root's folder.
package trial
