// Package doctor is "scanrelay doctor": it looks at all that a depot's agent needs,
// from the configuration to WeChat, whether an agent runs or not, and says of each
// what it found, how long that took, and what to do.
//
// It promises that
//   - nothing is changed but a small file in data_dir that is written and removed to
//     see how the disk writes: TestHealthy;
//   - it ends, whatever does not answer: TestNobodyAnswers;
//   - it fails (exit code 1) exactly if one of the findings is a failure: TestNobodyAnswers,
//     TestHealthy.
//
// It sends no credential anywhere: what centre and WeChat think of it is what the
// running agent was told. It speaks Chinese where the locale does, else English.
package doctor
