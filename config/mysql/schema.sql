-- The sample shop, the same on every shard; config/compose/shard-map.toml says where its rows live.
CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci;
USE shop;

CREATE TABLE customers (
  id      BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  name    VARCHAR(100)    NOT NULL,
  country CHAR(2)         NOT NULL
);

CREATE TABLE orders (
  customer_id BIGINT UNSIGNED NOT NULL,
  id          BIGINT UNSIGNED NOT NULL,
  placed_at   DATETIME        NOT NULL,
  PRIMARY KEY (customer_id, id)
);

CREATE TABLE order_lines (
  customer_id BIGINT UNSIGNED NOT NULL,
  order_id    BIGINT UNSIGNED NOT NULL,
  line        INT UNSIGNED    NOT NULL,
  item        VARCHAR(100)    NOT NULL,
  quantity    INT UNSIGNED    NOT NULL,
  price       DECIMAL(10, 2)  NOT NULL,
  PRIMARY KEY (customer_id, order_id, line)
);

CREATE TABLE countries (
  code CHAR(2)      NOT NULL PRIMARY KEY,
  name VARCHAR(100) NOT NULL
);

CREATE TABLE settings (
  name  VARCHAR(100) NOT NULL PRIMARY KEY,
  value VARCHAR(100) NOT NULL
);
