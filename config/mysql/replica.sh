# Run once by the MySQL image, before the replica's first real start: follow SOURCE_HOST by GTID. Replication begins with
# that start, and so does super_read_only, which is why both are only written down here.
mysql -uroot -p"${MYSQL_ROOT_PASSWORD}" <<SQL
SET SESSION sql_log_bin = 0;
CHANGE REPLICATION SOURCE TO
  SOURCE_HOST = '${SOURCE_HOST}',
  SOURCE_USER = 'replication',
  SOURCE_PASSWORD = 'replication-demo',
  SOURCE_AUTO_POSITION = 1,
  GET_SOURCE_PUBLIC_KEY = 1,
  SOURCE_CONNECT_RETRY = 2,
  SOURCE_RETRY_COUNT = 100000;
SET PERSIST_ONLY super_read_only = ON;
SQL
