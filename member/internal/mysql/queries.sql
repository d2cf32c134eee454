-- name: InsertMember :exec
INSERT INTO member (id, phone, email, name, role, password_hash) VALUES (?, ?, ?, ?, ?, ?);

-- name: GetMember :one
SELECT * FROM member WHERE id = ?;

-- name: GetMemberByPhone :one
SELECT * FROM member WHERE phone = ?;

-- name: GetMemberByEmail :one
SELECT * FROM member WHERE email = ?;
