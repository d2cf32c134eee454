-- +goose Up
-- How many SMS that cost money were written on a day (UTC) to a country's numbers, and to all (''). What was dropped is not counted.
CREATE TABLE sms_spent (
  day     DATE          NOT NULL,
  country VARBINARY(4)  NOT NULL,
  spent   INT           NOT NULL,
  dropped INT           NOT NULL DEFAULT 0,
  PRIMARY KEY (day, country)
);
