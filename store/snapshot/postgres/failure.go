package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/datakey"
)

// SQLSTATE codes that something follows from.
const (
	serialization     = "40001"
	deadlock          = "40P01"
	divisionByZero    = "22012" // a version is not what was read, see sqlPutWaybills
	uniqueViolation   = "23505"
	duplicateTable    = "42P07"
	duplicateType     = "42710" // a table's, which is made just now
	undefinedTable    = "42P01"
	undefinedFunction = "42883"
	notAllowed        = "42501"
	readOnlyNow       = "25006" // it was the primary until now
)

// codeOf is the SQLSTATE that the database refused with; "" if it did not.
func codeOf(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// overtaken reports that somebody else changed the same at the same time.
func overtaken(err error) bool {
	switch codeOf(err) {
	case serialization, deadlock, divisionByZero, uniqueViolation:
		return true
	}
	return false
}

// errUnfit is what is wrong with a database that serves.
var errUnfit = errors.New("the database cannot be used")

// lasting are errors without a code that no connection is to blame for.
var lasting = []error{errUnfit, snapshot.ErrNewer, snapshot.ErrDamaged, datakey.ErrKey, context.Canceled}

// away reports that the database does not serve now: it cannot be reached, stops,
// starts, has no room, or is no longer the one that writes. What else it refuses,
// it will always refuse.
func away(err error) bool {
	if err == nil {
		return false
	}
	code := codeOf(err)
	if code == "" {
		return !slices.ContainsFunc(lasting, func(lasts error) bool { return errors.Is(err, lasts) })
	}
	for _, class := range []string{"08", "53", "57", "58", readOnlyNow} {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	// A server whose disk is full may say no more of itself to a new connection.
	var connecting *pgconn.ConnectError
	return code == "XX000" && errors.As(err, &connecting)
}

// dead gives up all connections where one was found to be: the others were to the
// same server, which ended or is no longer the one that writes.
func (s *Store) dead(err error) {
	if !errors.Is(err, context.DeadlineExceeded) {
		s.pool.Reset()
		s.lookups.Reset()
	}
}
