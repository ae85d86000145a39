// Package layout holds the tests that keep the shape of the tree: who may
// import whom, what each package must say of itself, what the top level holds
// and what the gateway build must not link. It has no code of its own and must
// never get any; what it fixes stands as tables in its tests.
package layout
