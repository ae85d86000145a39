package postgres

// All statements on the tables, so that one test can hold them to their promise:
// those in use all the time touch rows by waybill_id, depot or phone alone, which is
// how the tables may be distributed. What is written goes in the order of the keys,
// so that two who write the same rows wait for each other in turn.
const (
	sqlDepots = `SELECT depot, epochs, version FROM depot WHERE depot = ANY($1)`

	sqlWaybills = `SELECT waybill_id, state, version FROM waybill WHERE waybill_id = ANY($1)`

	sqlLookup = `SELECT state, version FROM waybill WHERE waybill_id = $1`

	// A depot's numbers come in runs; those that do not are named one by one.
	sqlAnswerRun = `SELECT seq, ident, result, at FROM answer WHERE depot = $1 AND epoch = $2 AND seq BETWEEN $3 AND $4`

	sqlAnswers = `SELECT seq, ident, result, at FROM answer WHERE depot = $1 AND epoch = $2 AND seq = ANY($3)`

	sqlBindings = `SELECT phone, bound, at FROM binding WHERE phone = ANY($1)`

	sqlDocument = `SELECT doc, version FROM document WHERE name = $1`

	// Where a row has another version than the one that was read, a remainder by zero
	// is asked for: then nothing of the transaction is written, and the error, which
	// the database logs, shows nothing of the row.
	sqlPutDepots = `INSERT INTO depot (depot, epochs, version, was)
SELECT depot, epochs, $1, was FROM unnest($2::text[], $3::bytea[], $4::bigint[]) AS new (depot, epochs, was) ORDER BY depot
ON CONFLICT (depot) DO UPDATE SET epochs = excluded.epochs, was = excluded.was,
version = CASE WHEN depot.version = excluded.was THEN excluded.version ELSE excluded.version % 0 END`

	sqlPutWaybills = `INSERT INTO waybill (waybill_id, state, due, version, was)
SELECT waybill_id, state, due, $1, was FROM unnest($2::text[], $3::bytea[], $4::int[], $5::bigint[]) AS new (waybill_id, state, due, was) ORDER BY waybill_id
ON CONFLICT (waybill_id) DO UPDATE SET state = excluded.state, was = excluded.was,
version = CASE WHEN waybill.version = excluded.was THEN excluded.version ELSE excluded.version % 0 END`

	sqlPutAnswers = `INSERT INTO answer (depot, epoch, seq, ident, result, at, due)
SELECT depot, epoch, seq, ident, result, at, due
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[], $7::int[]) AS new (depot, epoch, seq, ident, result, at, due)
ORDER BY depot, epoch, seq
ON CONFLICT (depot, epoch, seq) DO UPDATE SET ident = excluded.ident, result = excluded.result, at = excluded.at, due = excluded.due`

	sqlPutDocuments = `INSERT INTO document (name, doc, version, was)
SELECT name, doc, CASE WHEN was BETWEEN 0 AND 1152921504606846976 THEN was + 1 ELSE 1 END, was FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS new (name, doc, was) ORDER BY name
ON CONFLICT (name) DO UPDATE SET doc = excluded.doc, was = excluded.was,
version = CASE WHEN document.version = excluded.was THEN excluded.version ELSE excluded.version % 0 END`

	sqlPutBindings = `INSERT INTO binding (phone, bound, at, due)
SELECT phone, bound, at, due FROM unnest($1::bytea[], $2::bool[], $3::bigint[], $4::int[]) AS new (phone, bound, at, due) ORDER BY phone
ON CONFLICT (phone) DO UPDATE SET bound = excluded.bound, at = excluded.at, due = excluded.due
WHERE binding.at < excluded.at OR binding.at > $5`

	// A time ahead, which only another clock of the database can have written, counts for nothing.
	sqlPutPresence = `INSERT INTO presence (depot, said, at, changed)
SELECT depot, said, now() - ago * interval '1 millisecond', now() FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS new (depot, said, ago) ORDER BY depot
ON CONFLICT (depot) DO UPDATE SET said = excluded.said, at = excluded.at,
changed = CASE WHEN presence.said = excluded.said THEN least(presence.changed, excluded.changed) ELSE excluded.changed END
WHERE presence.at < excluded.at OR presence.at > now()`

	sqlOwnWaiting = `SELECT count(*) FROM (SELECT FROM waiting WHERE depot = $1 LIMIT $2) AS own`

	sqlWaiting = `SELECT waybill_id FROM waiting WHERE depot = $1 AND waybill_id = ANY($2)`

	sqlAwaited = `SELECT waybill_id, depot FROM awaited WHERE waybill_id = ANY($1)`

	// What was declared a moment ago, perhaps to another process, is not written again.
	sqlDeclare = `INSERT INTO waiting (depot, waybill_id, at)
SELECT $1::text AS depot, waybill_id, now() FROM unnest($2::text[]) AS new (waybill_id) ORDER BY depot, waybill_id
ON CONFLICT (depot, waybill_id) DO UPDATE SET at = excluded.at
WHERE waiting.at NOT BETWEEN excluded.at - interval '5 minutes' AND excluded.at`

	sqlAwait = `INSERT INTO awaited (waybill_id, depot, at)
SELECT waybill_id, $1::text AS depot, now() FROM unnest($2::text[]) AS new (waybill_id) ORDER BY waybill_id, depot
ON CONFLICT (waybill_id, depot) DO UPDATE SET at = excluded.at
WHERE awaited.at NOT BETWEEN excluded.at - interval '5 minutes' AND excluded.at`

	sqlArrive = `INSERT INTO waiting (depot, waybill_id, told, at)
SELECT depot, waybill_id, 0, now() FROM unnest($1::text[], $2::text[]) AS new (depot, waybill_id) ORDER BY depot, waybill_id
ON CONFLICT (depot, waybill_id) DO UPDATE SET told = 0, at = excluded.at`

	sqlAwaitNoMore = `DELETE FROM awaited USING unnest($1::text[], $2::text[]) AS come (waybill_id, depot)
WHERE awaited.waybill_id = come.waybill_id AND awaited.depot = come.depot`

	sqlTell = `UPDATE waiting SET told = told + 1
WHERE depot = $1 AND waybill_id IN (SELECT waybill_id FROM waiting WHERE depot = $1 AND told IS NOT NULL ORDER BY told, waybill_id LIMIT $2) RETURNING waybill_id`

	sqlTold = `DELETE FROM waiting WHERE depot = $1 AND told >= $2`

	sqlWoken = `DELETE FROM waiting WHERE depot = $1 AND waybill_id = ANY($2) AND told IS NOT NULL`
)

// Statements that are run now and then: a part of what is old by its hour, some
// rows of what belongs to all, and what operators see.
const (
	sqlAllDepots = `SELECT depot, epochs, version FROM depot ORDER BY depot`

	sqlDocuments = `SELECT name, doc FROM document WHERE name >= $1 AND name < $2 ORDER BY name`

	sqlTime = `SELECT now()`

	sqlPresence = `SELECT depot, said, (extract(epoch FROM now() - at) * 1000)::bigint FROM presence WHERE depot = $1`

	sqlAllPresence = `SELECT depot, CASE WHEN changed >= $1 THEN said END, (extract(epoch FROM now() - at) * 1000)::bigint FROM presence`

	sqlToBeTold = `SELECT DISTINCT depot FROM waiting WHERE told IS NOT NULL`

	sqlCountWaiting = `SELECT count(*), count(told) FROM waiting`

	sqlOldWaiting = `DELETE FROM waiting WHERE (depot, waybill_id) IN (SELECT depot, waybill_id FROM waiting
WHERE at < now() - $1 * interval '1 millisecond' OR at > now() + interval '1 minute' ORDER BY at LIMIT $2)`

	sqlOldAwaited = `DELETE FROM awaited WHERE (waybill_id, depot) IN (SELECT waybill_id, depot FROM awaited
WHERE at < now() - $1 * interval '1 millisecond' OR at > now() + interval '1 minute' ORDER BY at LIMIT $2)`

	// Which cluster it is and how often it was recovered, and which table.
	sqlLife = `SELECT system_identifier || '-' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '-' || 'waiting'::regclass::oid FROM pg_control_system()`

	sqlAged = `SELECT waybill_id, state, version FROM waybill WHERE due < $1 ORDER BY due LIMIT $2`

	sqlForgetWaybills = `DELETE FROM waybill USING unnest($1::text[], $2::bigint[]) AS old (waybill_id, version)
WHERE waybill.waybill_id = old.waybill_id AND waybill.version = old.version`

	sqlForgetAside = `DELETE FROM document WHERE name >= $2 AND name < $3 AND NOT EXISTS (SELECT FROM waybill WHERE waybill_id = $1)`

	sqlKeepWaybills = `UPDATE waybill SET due = young.due FROM unnest($1::text[], $2::int[]) AS young (waybill_id, due)
WHERE waybill.waybill_id = young.waybill_id`

	// A due that nobody can have written.
	sqlDueWaybills = `UPDATE waybill SET due = $1 WHERE waybill_id IN (SELECT waybill_id FROM waybill WHERE due > $2 LIMIT $3)`
	sqlDueBindings = `UPDATE binding SET due = $1 WHERE phone IN (SELECT phone FROM binding WHERE due > $2 LIMIT $3)`
	sqlDueAnswers  = `UPDATE answer SET due = $1 WHERE (depot, epoch, seq) IN (SELECT depot, epoch, seq FROM answer WHERE due > $2 LIMIT $3)`

	sqlForgetBindings = `DELETE FROM binding WHERE phone IN (SELECT phone FROM binding WHERE due < $1 ORDER BY due LIMIT $2) AND due < $1`

	sqlForgetAnswers = `DELETE FROM answer WHERE (depot, epoch, seq) IN (SELECT depot, epoch, seq FROM answer WHERE due < $1 ORDER BY due LIMIT $2)`

	sqlCommits = `SHOW synchronous_commit`

	sqlMeta = `SELECT name, value FROM meta`

	sqlPutMeta = `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`

	sqlDeleteMeta = `DELETE FROM meta WHERE name = $1`

	sqlInOrder = `SELECT waybill_id, state, version FROM waybill WHERE waybill_id > $1 ORDER BY waybill_id LIMIT $2`

	sqlLease = `INSERT INTO lease (name, holder, ends) VALUES ($1, $2, now() + $3 * interval '1 millisecond')
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends = excluded.ends WHERE lease.holder = excluded.holder OR lease.ends < now()
OR lease.ends > now() + interval '10 minutes'`

	sqlLeaveOthers = `DELETE FROM lease WHERE holder = $1 AND starts_with(name, $2) AND name <> $3`

	sqlProcesses = `SELECT name FROM lease WHERE starts_with(name, $1) AND ends > now()`

	sqlEndLease = `DELETE FROM lease WHERE name = $1 AND holder = $2`

	sqlLeave = `DELETE FROM lease WHERE holder = $1`

	// Estimates: counting would read all of it.
	sqlSizes = `SELECT coalesce(sum(CASE WHEN relname = 'waybill' THEN greatest(reltuples, 0) ELSE 0 END), 0)::bigint, coalesce(sum(pg_total_relation_size(oid)), 0)::bigint
FROM pg_class WHERE oid IN ('waybill'::regclass, 'answer'::regclass, 'binding'::regclass, 'depot'::regclass)`
)
