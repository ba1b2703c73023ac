<?php
// The checklist by PDO over mysqlnd, with prepared statements that PDO emulates and with those of the server.
declare(strict_types=1);

require __DIR__ . '/checklist.php';

final class DataObjects extends Driver
{
    protected function login(array $wanted): PDO
    {
        foreach (['attributes', 'collation'] as $name) {
            if (isset($wanted[$name])) {
                throw new Unsupported($name);
            }
        }
        $options = [
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
            PDO::ATTR_EMULATE_PREPARES => given()['variant'] === 'emulated',
            PDO::ATTR_TIMEOUT => 20,
            PDO::MYSQL_ATTR_FOUND_ROWS => !empty($wanted['found_rows']),
            PDO::MYSQL_ATTR_COMPRESS => !empty($wanted['compress']),
            PDO::MYSQL_ATTR_LOCAL_INFILE => !empty($wanted['local_infile']),
            PDO::MYSQL_ATTR_MULTI_STATEMENTS => !empty($wanted['multi']),
        ];
        if (isset($wanted['init'])) {
            $options[PDO::MYSQL_ATTR_INIT_COMMAND] = $wanted['init'];
        }
        if (!empty($wanted['tls'])) {
            $options[PDO::MYSQL_ATTR_SSL_CIPHER] = 'DEFAULT';
            $options[PDO::MYSQL_ATTR_SSL_VERIFY_SERVER_CERT] = false;
        }
        if (isset($wanted['autocommit'])) {
            $options[PDO::ATTR_AUTOCOMMIT] = $wanted['autocommit'];
        }
        $database = array_key_exists('database', $wanted) ? $wanted['database'] : given()['database'];
        $address = sprintf('mysql:host=%s;port=%d;charset=%s', given()['host'], given()['port'], $wanted['charset'] ?? 'utf8mb4');
        return new PDO(
            $address . ($database === null ? '' : ";dbname=$database"),
            $wanted['user'] ?? given()['user'],
            $wanted['password'] ?? given()['password'],
            $options
        );
    }

    protected function leave(object $connection): void
    {
        // PDO closes a connection when nothing names it any more.
    }

    protected function fault(Exception|ValueError $error): array
    {
        return [get_class($error), $error->errorInfo ?? null, $error->getMessage()];
    }

    protected function thread(object $connection): int
    {
        return (int) $connection->query('SELECT CONNECTION_ID()')->fetchColumn();
    }

    protected function query(object $connection, string $sql): array
    {
        $statement = $connection->query($sql);
        return $this->result($connection, $statement);
    }

    private function result(PDO $connection, PDOStatement $statement): array
    {
        if ($statement->columnCount() === 0) {
            return ['affected' => $statement->rowCount(), 'insert_id' => $connection->lastInsertId()];
        }
        $columns = [];
        for ($column = 0; $column < $statement->columnCount(); $column++) {
            $about = $statement->getColumnMeta($column);
            $columns[] = [$about['name'], $about['table'], $about['native_type'] ?? null, $about['flags'], $about['len'],
                $about['precision'], $about['pdo_type']];
        }
        $rows = array_map(fn (array $row) => array_map('value', $row), $statement->fetchAll(PDO::FETCH_NUM));
        return ['columns' => $columns, 'rows' => $rows, 'count' => $statement->rowCount()];
    }

    protected function step_prepared(object $connection, array $given): array
    {
        try {
            $statement = $connection->prepare($given['sql']);
        } catch (PDOException $error) {
            return ['prepare' => $this->fault($error)];
        }
        $runs = [];
        foreach ($given['with'] as $number => $row) {
            if ($number === 1 && isset($given['between'])) {
                $this->query($connection, $given['between']);
            }
            $runs[] = $this->caught(fn () => $this->executed($connection, $statement, $row));
        }
        return ['runs' => $runs];
    }

    private function executed(PDO $connection, PDOStatement $statement, array $row): array
    {
        foreach ($row as $at => $cell) {
            [$value, $bytes] = parameter($cell);
            $statement->bindValue($at + 1, $value, match (true) {
                $value === null => PDO::PARAM_NULL,
                $bytes => PDO::PARAM_LOB,
                is_int($value) => PDO::PARAM_INT,
                default => PDO::PARAM_STR,
            });
        }
        $statement->execute();
        $answer = $this->result($connection, $statement);
        $statement->closeCursor();
        return $answer;
    }

    protected function step_prepared_many(object $connection, array $given): array
    {
        $digest = hash_init('md5');
        $kept = [];
        for ($number = 0; $number < $given['count']; $number++) {
            $kept[] = $statement = $connection->prepare(str_replace('{number}', (string) $number, $given['sql']));
            hash_update($digest, json_encode($this->executed($connection, $statement, $given['with'])));
        }
        return ['digest' => hash_final($digest)];
    }

    protected function step_multi(object $connection, string $sql): array
    {
        $results = [];
        try {
            $statement = $connection->query($sql);
            do {
                $results[] = $this->result($connection, $statement);
            } while ($statement->nextRowset());
        } catch (PDOException $error) {
            $results[] = ['error' => $this->fault($error)];
        }
        return ['results' => $results];
    }

    protected function step_begin(object $connection): array
    {
        return ['ok' => $connection->beginTransaction()];
    }

    protected function step_commit(object $connection): array
    {
        return ['ok' => $connection->commit()];
    }

    protected function step_rollback(object $connection): array
    {
        return ['ok' => $connection->rollBack()];
    }

    protected function step_autocommit(object $connection, bool $to): array
    {
        return ['ok' => $connection->setAttribute(PDO::ATTR_AUTOCOMMIT, $to)];
    }

    protected function step_stream(object $connection, array $given): array
    {
        $connection->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, false);
        $statement = $connection->query($given['sql']);
        $rows = [];
        while (count($rows) !== ($given['take'] ?? null) && $row = $statement->fetch(PDO::FETCH_NUM)) {
            $rows[] = array_map('value', $row);
        }
        $statement->closeCursor();
        return ['rows' => $rows];
    }
}

(new DataObjects())->run();
