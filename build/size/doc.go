// Size prints what the built binaries weigh and what each library costs in the
// gateway build, and fails when that build is above a limit, as it is or under
// xz -9. It reads files only; building them is the Makefile's.
package main
