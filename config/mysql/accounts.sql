-- Accounts on every primary; replicas get them by replication.

-- The application's. The proxy logs in as the user it serves, so that MySQL's grants apply.
CREATE USER 'shop'@'%' IDENTIFIED BY 'shop-demo';
GRANT ALL ON shop.* TO 'shop'@'%';
-- It notes commits over several shards (docs/transactions.md).
GRANT INSERT, SELECT ON shardway.* TO 'shop'@'%';

-- The proxy's own: health, lag, table definitions, ending what a lost proxy has left prepared.
CREATE USER 'shardway'@'%' IDENTIFIED BY 'control-demo';
GRANT SELECT, REPLICATION CLIENT, XA_RECOVER_ADMIN ON *.* TO 'shardway'@'%';
GRANT CREATE, INSERT, DELETE ON shardway.* TO 'shardway'@'%';

-- The replicas'.
CREATE USER 'replication'@'%' IDENTIFIED BY 'replication-demo';
GRANT REPLICATION SLAVE ON *.* TO 'replication'@'%';
