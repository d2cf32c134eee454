-- name: CountAccounts :one
SELECT COUNT(*) FROM credit_account;

-- name: CheckBalances :many
SELECT member_id, credit, prepare_add_credit, prepare_deduct_credit FROM credit_account
WHERE credit < 0 OR prepare_add_credit < 0 OR prepare_deduct_credit < 0 ORDER BY member_id LIMIT ?;

-- name: CheckEntries :many
-- One statement, so that accounts and entries are of the same moment. A member may be missing on either side. Reading a million
-- entries by the index on member_id would fetch each row on its own.
SELECT b.member_id,
  CAST(SUM(b.held) AS SIGNED) AS held, CAST(SUM(b.added) AS SIGNED) AS added,
  CAST(SUM(b.prepare_add) AS SIGNED) AS prepare_add, CAST(SUM(b.prepared) AS SIGNED) AS prepared,
  CAST(SUM(b.prepare_deduct) AS SIGNED) AS prepare_deduct, CAST(SUM(b.deducting) AS SIGNED) AS deducting
FROM (
  SELECT a.member_id, a.credit + a.prepare_deduct_credit AS held, a.prepare_add_credit AS prepare_add,
    a.prepare_deduct_credit AS prepare_deduct, 0 AS added, 0 AS prepared, 0 AS deducting
  FROM credit_account a
  UNION ALL
  SELECT e.member_id, 0, 0, 0, SUM(IF(e.status IN ('ADDED', 'DEDUCTING'), e.points, 0)),
    SUM(IF(e.status = 'PREPARED', e.points, 0)), SUM(IF(e.status = 'DEDUCTING', e.points, 0))
  FROM credit_entry e FORCE INDEX (PRIMARY) GROUP BY e.member_id
) b
GROUP BY b.member_id
HAVING SUM(b.held) <> SUM(b.added) OR SUM(b.prepare_add) <> SUM(b.prepared) OR SUM(b.prepare_deduct) <> SUM(b.deducting)
ORDER BY b.member_id;

-- name: CountOpen :one
SELECT COUNT(*) FROM credit_entry WHERE status IN ('PREPARED', 'DEDUCTING');

-- name: ListOpen :many
SELECT source, status, TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) AS age_seconds FROM credit_entry
WHERE status IN ('PREPARED', 'DEDUCTING') AND TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) >= CAST(sqlc.arg('open_seconds') AS SIGNED)
ORDER BY updated_at, source LIMIT ?;

-- name: DigestLedger :many
-- Read through: by the index on bucket each row would be fetched on its own.
-- An entry that no transaction made (gid is empty) is not about an order.
SELECT bucket, COUNT(*) AS facts,
  CAST(BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT(source, '|', points), 256), 16), 16, 10) AS UNSIGNED)) AS SIGNED) AS digest
FROM credit_entry FORCE INDEX (PRIMARY) WHERE status IN ('ADDED', 'DEDUCTING') AND gid <> '' GROUP BY bucket;

-- name: FactsOfBuckets :many
SELECT source, points, status, TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) AS age_seconds
FROM credit_entry WHERE bucket IN (sqlc.slice('buckets')) AND gid <> '' ORDER BY source;

-- name: FactsOfSources :many
SELECT source, points, status, TIMESTAMPDIFF(SECOND, updated_at, NOW(3)) AS age_seconds
FROM credit_entry WHERE source IN (sqlc.slice('sources')) AND gid <> '' ORDER BY source;
