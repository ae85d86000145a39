package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"scanrelay/agent/scan"
)

// A row of a waybill that is damaged, or whose data key is lost, costs what it held, and holds up no depot: whoever writes
// something new for the waybill keeps the row as a document, in the same transaction.
// Until its data is known again nobody may be told that there is none.

// asidePrefix, the waybill and the version of the row that takes its place are the name
// of such a document: a table that is put back has the damaged row and its version again.
const asidePrefix = "damaged/"

// putAside keeps the damaged rows of waybills that are written.
func (w *writes) putAside(b *pgx.Batch) {
	var names []string
	var docs [][]byte
	for id := range w.Facts.Waybills {
		if row := w.broken[id]; row != nil {
			names, docs = append(names, fmt.Sprintf("%s%s/%d", asidePrefix, id, w.version)), append(docs, row)
		}
	}
	if len(names) > 0 {
		b.Queue(sqlPutDocuments, names, docs, make([]int64, len(names)))
	}
}

// begunAnew notes that a waybill was.
func (s *Store) begunAnew(id scan.WaybillID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.anew[id] = true
}

func (s *Store) wasBegunAnew(id scan.WaybillID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.anew[id]
}

// readAside takes note, at a start, of those that all processes have begun anew.
func (s *Store) readAside(ctx context.Context) error {
	return s.Documents(ctx, asidePrefix, func(name string, _ []byte) error {
		name = strings.TrimPrefix(name, asidePrefix)
		s.begunAnew(scan.WaybillID(name[:max(0, strings.LastIndexByte(name, '/'))]))
		return nil
	})
}
