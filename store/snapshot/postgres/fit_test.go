package postgres

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"scanrelay/store/snapshot"
)

// TestBecameUnfit: a database that becomes one while centres run which a start would
// refuse takes nothing, is told, and is read; it goes on by itself once it is right.
func TestBecameUnfit(t *testing.T) {
	for _, c := range []struct {
		name, says    string
		migrate       bool
		wrong, mended string
	}{
		{"commits are not durable", "synchronous_commit is off", true, `ALTER DATABASE %s SET synchronous_commit = off`, `ALTER DATABASE %s RESET synchronous_commit`},
		{"a newer schema", "schema 77", true, `INSERT INTO scanrelay_schema (version) VALUES (77)`, `DELETE FROM scanrelay_schema WHERE version = 77`},
		{"an older schema", "has schema 2", false, `DELETE FROM scanrelay_schema WHERE version > 2`, `INSERT INTO scanrelay_schema (version) SELECT generate_series(3, ` + strconv.Itoa(Schema) + `)`},
		{"an older schema that may be changed", "", true, older, `SELECT 1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := database(t)
			open(t, o)
			o.Migrate = c.migrate
			s := open(t, o)
			importData(t, s, "YT0000001")
			other := stranger(t, o)
			run := func(sql string) {
				t.Helper()
				if strings.Contains(sql, "%s") {
					sql = fmt.Sprintf(sql, pgx.Identifier{other.Config().Database}.Sanitize())
				}
				if _, err := other.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
				s.pool.Reset() // as where another server took over
			}
			blocked := func() string {
				t.Helper()
				st, err := s.Stats(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return st.Blocked
			}
			run(c.wrong)
			if c.says != "" {
				_, err := s.Merge(t.Context(), batch("hz-01", event(1, "YT0000001")))
				done, err2 := s.PutDocuments(t.Context(), []string{"a"}, [][]byte{{1}}, []int64{0})
				if !errors.Is(err, errHeld) || !errors.Is(err2, errHeld) || done || !strings.Contains(blocked(), c.says) {
					t.Errorf("taken: %v, %v, %v; blocked: %q", err, err2, done, blocked())
				}
			}
			if wb, ok, err := s.Lookup(t.Context(), "YT0000001"); err != nil || !ok || wb.Data == nil || len(wb.Nodes) > 0 {
				t.Errorf("looked up: %+v, %v, %v", wb, ok, err)
			}
			if run(c.mended); c.says != "" && blocked() == "" {
				t.Error("nobody looked, and it is not blocked any more")
			}
			if m := merge(t, s, batch("hz-01", event(1, "YT0000001"))); m.Answers[0].Result != snapshot.Taken || blocked() != "" {
				t.Errorf("mended: %+v, blocked: %q", m, blocked())
			}
			if n, err := Behind(t.Context(), o); n != 0 || err != nil {
				t.Errorf("%d steps behind, %v", n, err)
			}
		})
	}
}
