-- Loaded through the proxy: rows go to their shards, the reference table to both. May be run again.
INSERT IGNORE INTO countries (code, name) VALUES ('de', 'Germany'), ('fr', 'France'), ('nl', 'Netherlands');
INSERT IGNORE INTO customers (id, name, country) VALUES
  (1, 'Ada', 'de'), (2, 'Blaise', 'fr'), (3, 'Christiaan', 'nl'), (4, 'Emmy', 'de'),
  (5, 'Sophie', 'fr'), (6, 'Simon', 'nl'), (7, 'Carl', 'de'), (8, 'Evariste', 'fr');
INSERT IGNORE INTO orders (customer_id, id, placed_at) VALUES
  (1, 100, '2026-01-05 10:00:00'), (2, 101, '2026-01-05 11:30:00'), (3, 102, '2026-01-06 09:15:00'),
  (4, 103, '2026-01-07 16:45:00'), (5, 104, '2026-01-08 08:00:00'), (1, 105, '2026-02-01 12:00:00');
INSERT IGNORE INTO order_lines (customer_id, order_id, line, item, quantity, price) VALUES
  (1, 100, 1, 'lamp', 1, 39.90), (1, 100, 2, 'bulb', 4, 2.50), (2, 101, 1, 'chair', 2, 89.00),
  (3, 102, 1, 'clock', 1, 120.00), (4, 103, 1, 'ring binder', 10, 1.95), (5, 104, 1, 'lens', 1, 310.00),
  (1, 105, 1, 'desk', 1, 450.00);
INSERT IGNORE INTO settings (name, value) VALUES ('currency', 'EUR');
