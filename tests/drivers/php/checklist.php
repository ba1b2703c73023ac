<?php
// What the PHP programs share: arguments, the form of values, the lines they print, the order of steps.
declare(strict_types=1);

error_reporting(E_ALL);
// Warnings are not part of what a program prints.
ini_set('display_errors', 'stderr');
date_default_timezone_set('UTC');

final class Unsupported extends Exception
{
}

function given(): array
{
    static $given = null;
    if ($given === null) {
        $given = [];
        foreach (array_slice($_SERVER['argv'], 1) as $argument) {
            [$name, $value] = explode('=', substr($argument, 2), 2);
            $given[$name] = $value;
        }
    }
    return $given;
}

function said(string $id, array $more): void
{
    echo json_encode(['id' => $id] + $more, JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION | JSON_THROW_ON_ERROR), "\n";
}

/** A value with its type as the driver gave it. */
function value(mixed $found): ?string
{
    if ($found === null) {
        return null;
    }
    $text = is_float($found) ? var_export($found, true) : (string) $found;
    if (preg_match('//u', $text) !== 1) {
        $text = 'x' . bin2hex($text);
    }
    if (strlen($text) > 100) {
        $text = strlen($text) . ':' . md5($text);
    }
    return get_debug_type($found) . ':' . $text;
}

/** @return array{mixed, bool} the value and whether it is bytes */
function parameter(mixed $given): array
{
    if (!is_array($given)) {
        return [$given, false];
    }
    $text = reset($given);
    return key($given) === 'bytes' ? [hex2bin($text), true] : [$text, false];
}

/** One driver: what both have in common. */
abstract class Driver
{
    protected array $open = [];

    abstract protected function login(array $wanted): object;

    abstract protected function leave(object $connection): void;

    abstract protected function fault(Exception|ValueError $error): array;

    abstract protected function query(object $connection, string $sql): array;

    abstract protected function thread(object $connection): int;

    protected function step_connect(?object $connection, array $wanted): array
    {
        $name = $wanted['as'] ?? 'main';
        unset($wanted['as']);
        if (isset($this->open[$name])) {
            $this->leave($this->open[$name]);
            unset($this->open[$name]);
        }
        $this->open[$name] = $this->login($wanted);
        return ['ok' => true];
    }

    protected function step_close(?object $connection, string $name): array
    {
        $this->leave($this->open[$name]);
        unset($this->open[$name]);
        return ['ok' => true];
    }

    protected function step_query(object $connection, string $sql): array
    {
        return $this->query($connection, $sql);
    }

    protected function step_infile(object $connection, array $given): array
    {
        return $this->query($connection, $given['sql']);
    }

    protected function step_terminate(?object $connection, string $name): array
    {
        $killer = $this->login([]);
        $this->query($killer, 'KILL ' . $this->thread($this->open[$name]));
        $this->leave($killer);
        return ['lost' => isset($this->caught(fn () => $this->query($this->open[$name], 'SELECT 1'))['error'])];
    }

    protected function caught(callable $action): array
    {
        try {
            return $action();
        } catch (Unsupported $error) {
            throw $error;
        } catch (Exception | ValueError $error) {
            return ['error' => $this->fault($error)];
        }
    }

    private function step(array $step): array
    {
        $method = 'step_' . $step['op'];
        if (!method_exists($this, $method)) {
            throw new Unsupported($step['op']);
        }
        if (in_array($step['op'], ['connect', 'close', 'terminate'], true)) {
            return $this->$method(null, $step['arg']);
        }
        $name = $step['by'];
        $this->open[$name] ??= $this->login([]);
        return $this->$method($this->open[$name], $step['arg']);
    }

    private function behave(array $behaviour): void
    {
        $results = [];
        try {
            foreach ($behaviour['steps'] as $step) {
                $results[] = $this->caught(fn () => $this->step($step));
            }
            said($behaviour['id'], ['steps' => $results]);
        } catch (Unsupported $error) {
            said($behaviour['id'], ['unsupported' => $error->getMessage()]);
        }
        foreach ($this->open as $connection) {
            try {
                $this->leave($connection);
            } catch (Throwable) {
                // Some were ended by what the behaviour is about.
            }
        }
        $this->open = [];
    }

    public function run(): void
    {
        $janitor = $this->login([]);
        $behaviours = json_decode(file_get_contents(given()['checklist']), true, 512, JSON_THROW_ON_ERROR);
        foreach ($behaviours as $behaviour) {
            foreach ($behaviour['given'] as $sql) {
                $this->query($janitor, $sql);
            }
            $this->behave($behaviour);
        }
    }
}
