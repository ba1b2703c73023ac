<?php
// The checklist by mysqli over mysqlnd.
declare(strict_types=1);

require __DIR__ . '/checklist.php';

mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);

final class Improved extends Driver
{
    protected function login(array $wanted): mysqli
    {
        foreach (['attributes', 'collation'] as $name) {
            if (isset($wanted[$name])) {
                throw new Unsupported($name);
            }
        }
        $connection = mysqli_init();
        $connection->options(MYSQLI_OPT_CONNECT_TIMEOUT, 20);
        $connection->options(MYSQLI_OPT_LOCAL_INFILE, !empty($wanted['local_infile']) ? 1 : 0);
        if (isset($wanted['init'])) {
            $connection->options(MYSQLI_INIT_COMMAND, $wanted['init']);
        }
        $flags = (!empty($wanted['found_rows']) ? MYSQLI_CLIENT_FOUND_ROWS : 0)
            | (!empty($wanted['compress']) ? MYSQLI_CLIENT_COMPRESS : 0)
            | (!empty($wanted['tls']) ? MYSQLI_CLIENT_SSL | MYSQLI_CLIENT_SSL_DONT_VERIFY_SERVER_CERT : 0);
        $connection->real_connect(
            given()['host'],
            $wanted['user'] ?? given()['user'],
            $wanted['password'] ?? given()['password'],
            array_key_exists('database', $wanted) ? $wanted['database'] : given()['database'],
            (int) given()['port'],
            null,
            $flags
        );
        $connection->set_charset($wanted['charset'] ?? 'utf8mb4');
        if (isset($wanted['autocommit'])) {
            $connection->autocommit($wanted['autocommit']);
        }
        return $connection;
    }

    protected function leave(object $connection): void
    {
        $connection->close();
    }

    protected function fault(Exception|ValueError $error): array
    {
        $state = $error instanceof mysqli_sql_exception ? $error->getSqlState() : null;
        return [get_class($error), $error->getCode(), $state, $error->getMessage()];
    }

    protected function thread(object $connection): int
    {
        return $connection->thread_id;
    }

    protected function query(object $connection, string $sql): array
    {
        return $this->result($connection, $connection->query($sql));
    }

    private function result(mysqli $connection, mysqli_result|bool $found): array
    {
        if (is_bool($found)) {
            return ['affected' => $connection->affected_rows, 'insert_id' => $connection->insert_id,
                'info' => $connection->info, 'warnings' => $connection->warning_count];
        }
        $answer = ['columns' => $this->columns($found), 'rows' => []];
        while ($row = $found->fetch_row()) {
            $answer['rows'][] = array_map('value', $row);
        }
        $found->free();
        return $answer + ['warnings' => $connection->warning_count];
    }

    private function columns(mysqli_result $found): array
    {
        return array_map(fn (object $field) => [$field->name, $field->orgname, $field->table, $field->orgtable, $field->type,
            $field->flags, $field->length, $field->decimals, $field->charsetnr], $found->fetch_fields());
    }

    protected function step_prepared(object $connection, array $given): array
    {
        try {
            $statement = $connection->prepare($given['sql']);
        } catch (mysqli_sql_exception $error) {
            return ['prepare' => $this->fault($error)];
        }
        $runs = [];
        foreach ($given['with'] as $number => $row) {
            if ($number === 1 && isset($given['between'])) {
                $this->query($connection, $given['between']);
            }
            $runs[] = $this->caught(fn () => $this->executed($connection, $statement, $row));
        }
        $statement->close();
        return ['runs' => $runs];
    }

    private function executed(mysqli $connection, mysqli_stmt $statement, array $row): array
    {
        $values = array_map(fn ($cell) => parameter($cell)[0], $row);
        $types = implode('', array_map(fn ($cell) => match (true) {
            parameter($cell)[1] => 'b',
            is_int($cell) => 'i',
            is_float($cell) => 'd',
            default => 's',
        }, $row));
        if ($values !== []) {
            // A value of the type b is sent in pieces before the statement is executed.
            $bound = array_map(fn ($value, $type) => $type === 'b' ? null : $value, $values, str_split($types));
            $statement->bind_param($types, ...$bound);
            foreach ($values as $at => $value) {
                if ($types[$at] === 'b') {
                    foreach (str_split($value, 3) as $piece) {
                        $statement->send_long_data($at, $piece);
                    }
                }
            }
        }
        $statement->execute();
        $found = $statement->get_result();
        if ($found === false) {
            return ['affected' => $statement->affected_rows, 'insert_id' => $statement->insert_id];
        }
        return $this->result($connection, $found);
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
            $connection->multi_query($sql);
            do {
                $results[] = $this->result($connection, $connection->store_result());
            } while ($connection->more_results() && $connection->next_result());
        } catch (mysqli_sql_exception $error) {
            $results[] = ['error' => $this->fault($error)];
        }
        return ['results' => $results];
    }

    protected function step_begin(object $connection): array
    {
        return ['ok' => $connection->begin_transaction()];
    }

    protected function step_commit(object $connection): array
    {
        return ['ok' => $connection->commit()];
    }

    protected function step_rollback(object $connection): array
    {
        return ['ok' => $connection->rollback()];
    }

    protected function step_autocommit(object $connection, bool $to): array
    {
        return ['ok' => $connection->autocommit($to)];
    }

    protected function step_ping(object $connection): array
    {
        return ['ok' => $connection->ping()];
    }

    protected function step_use(object $connection, string $database): array
    {
        return ['ok' => $connection->select_db($database)];
    }

    protected function step_identity(object $connection): array
    {
        return ['equal' => $connection->query('SELECT CONNECTION_ID()')->fetch_row()[0] == $connection->thread_id];
    }

    protected function step_change_user(object $connection, array $to): array
    {
        $password = $to['password'] ?? given()['password'];
        return ['ok' => $connection->change_user($to['user'], $password, given()['database'])];
    }

    protected function step_warnings(object $connection): array
    {
        return ['warnings' => $connection->warning_count];
    }

    protected function step_stream(object $connection, array $given): array
    {
        $connection->real_query($given['sql']);
        $found = $connection->use_result();
        $rows = [];
        while (count($rows) !== ($given['take'] ?? null) && $row = $found->fetch_row()) {
            $rows[] = array_map('value', $row);
        }
        // Reads what is left; mysqlnd does so before it closes a connection, too.
        $found->free();
        return ['rows' => $rows];
    }

    protected function step_cursor(object $connection, array $given): array
    {
        $statement = $connection->prepare($given['sql']);
        $statement->attr_set(MYSQLI_STMT_ATTR_CURSOR_TYPE, MYSQLI_CURSOR_TYPE_READ_ONLY);
        $statement->attr_set(MYSQLI_STMT_ATTR_PREFETCH_ROWS, 1);
        $statement->execute();
        $cells = array_fill(0, $statement->field_count, null);
        $statement->bind_result(...$this->references($cells));
        $rows = [];
        while ($statement->fetch()) {
            $rows[] = array_map('value', $cells);
        }
        $statement->close();
        return ['rows' => $rows];
    }

    private function references(array &$cells): array
    {
        $references = [];
        foreach ($cells as &$cell) {
            $references[] = &$cell;
        }
        return $references;
    }

    /** mysqlnd can send without waiting for the answer, which is what another connection then stops. */
    protected function step_kill(object $connection, array $given): array
    {
        $killer = $this->login([]);
        $connection->query($given['sql'], MYSQLI_ASYNC);
        do {
            $this->query($killer, 'KILL QUERY ' . $connection->thread_id);
            $read = $error = $reject = [$connection];
        } while (!mysqli::poll($read, $error, $reject, 0, 50000));
        return $this->caught(fn () => $this->result($connection, $connection->reap_async_query()));
    }
}

(new Improved())->run();
