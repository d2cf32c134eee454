-- +goose Up
-- phone and email are stored in their normal form (internal/member) and compared byte by byte.
CREATE TABLE member (
  id            CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  phone         VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  email         VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  name          VARCHAR(100) NOT NULL,
  role          VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  password_hash VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  created_at    DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  UNIQUE KEY phone (phone),
  UNIQUE KEY email (email),
  CHECK (role IN ('shopper', 'operator'))
) DEFAULT CHARSET = utf8mb4;
