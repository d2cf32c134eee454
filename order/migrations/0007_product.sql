-- +goose Up
-- Order's copy of what inventory sells, so that orders are taken while inventory is away. version is the number of the change it is at.
CREATE TABLE product (
  sku         VARBINARY(64) NOT NULL PRIMARY KEY,
  name        VARCHAR(200)  NOT NULL,
  price_cents BIGINT        NOT NULL,
  version     BIGINT        NOT NULL,
  CHECK (price_cents > 0)
) DEFAULT CHARSET = utf8mb4;
