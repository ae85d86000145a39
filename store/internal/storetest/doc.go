// Package storetest holds what the tests of several rooms of the store share:
// damage done to files, and a look at bbolt's pages that owes nothing to the
// code under test. Only tests import it.
package storetest
