"""The checklist over Python's DB-API: what PyMySQL, mysqlclient and mysql-connector-python have in common.

A driver gives `connect(**options)` and, where it has them, further steps by name; see ../README.md for the steps.
"""

import argparse
import datetime
import decimal
import hashlib
import json
import struct
import threading


class Unsupported(Exception):
    """The driver has no means for a step; the argument names it."""


def arguments(variants=()):
    parser = argparse.ArgumentParser()
    for name in ("host", "user", "password", "database", "checklist"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--variant", choices=variants or None)
    return parser.parse_args()


def said(identity, **more):
    print(json.dumps({"id": identity, **more}, ensure_ascii=False), flush=True)


def value(found):
    """A value with its type as the driver gave it."""
    if found is None:
        return None
    kind = type(found).__name__
    if isinstance(found, (bytes, bytearray)):
        text = bytes(found).hex()
    elif isinstance(found, (set, frozenset)):
        text = ",".join(sorted(map(str, found)))
    else:
        text = str(found)
    if len(text) > 100:
        text = "%d:%s" % (len(text), hashlib.md5(text.encode("utf-8", "surrogateescape")).hexdigest())
    return kind + ":" + text


def parameter(given):
    if not isinstance(given, dict):
        return given
    (kind, text), = given.items()
    return {
        "unsigned": int,
        "decimal": decimal.Decimal,
        "bytes": bytes.fromhex,
        "date": datetime.date.fromisoformat,
        "datetime": datetime.datetime.fromisoformat,
    }[kind](text)


class Driver:
    """One driver. Subclasses give `connect` and `Error`, and override what they do in another way."""

    Error = Exception
    placeholder = "%s"

    def __init__(self, given):
        self.given = given
        self.open = {}

    # -- what a driver gives --

    def connect(self, **options):
        raise NotImplementedError

    def thread(self, connection):
        raise Unsupported("identity")

    def fault(self, error):
        """Number and message, and the SQLSTATE where the driver has it."""
        return [type(error).__name__] + [str(part) for part in error.args]

    # -- the steps --

    def step_connect(self, connection, options):
        options = dict(options)
        name = options.pop("as", "main")
        old = self.open.pop(name, None)
        if old is not None:
            old.close()
        self.open[name] = self.login(**options)
        return {"ok": True}

    def login(self, **options):
        given = dict(user=self.given.user, password=self.given.password, database=self.given.database,
                     autocommit=True)
        given.update(options)
        return self.connect(**given)

    def step_close(self, connection, name):
        self.open.pop(name).close()
        return {"ok": True}

    def step_query(self, connection, sql):
        with_cursor = connection.cursor()
        try:
            with_cursor.execute(sql)
            return self.result(with_cursor)
        finally:
            with_cursor.close()

    def step_prepared(self, connection, given):
        """By parameters that the driver writes into the text; a driver with real prepared statements overrides it."""
        results = []
        for number, row in enumerate(given["with"]):
            if number == 1 and "between" in given:
                self.step_query(connection, given["between"])
            results.append(self.caught(self.executed, connection, given["sql"], row))
        return {"runs": results}

    def executed(self, connection, sql, row):
        cursor = connection.cursor()
        try:
            cursor.execute(self.text(sql), tuple(parameter(cell) for cell in row))
            return self.result(cursor)
        finally:
            cursor.close()

    def text(self, sql):
        return sql.replace("%", "%%").replace("?", self.placeholder)

    def step_prepared_many(self, connection, given):
        digest = hashlib.md5()
        for number in range(given["count"]):
            sql = given["sql"].replace("{number}", str(number))
            run = self.step_prepared(connection, {"sql": sql, "with": [given["with"]]})
            if "error" in run["runs"][0]:
                return run["runs"][0]
            digest.update(json.dumps(run["runs"][0]["rows"]).encode())
        return {"digest": digest.hexdigest()}

    def step_batch(self, connection, given):
        cursor = connection.cursor()
        try:
            rows = [tuple(parameter(cell) for cell in row) for row in given["with"]]
            cursor.executemany(self.text(given["sql"]), rows)
            return {"affected": cursor.rowcount}
        finally:
            cursor.close()

    def result(self, cursor):
        if cursor.description is None:
            return {"affected": cursor.rowcount, "insert_id": cursor.lastrowid, **self.extra(cursor)}
        rows = [[value(cell) for cell in row] for row in cursor.fetchall()]
        return {"columns": self.columns(cursor), "rows": rows, "count": cursor.rowcount, **self.extra(cursor)}

    def columns(self, cursor):
        return [list(map(str, column)) for column in cursor.description]

    def extra(self, cursor):
        return {}

    def step_multi(self, connection, sql):
        cursor = connection.cursor()
        results = []
        try:
            cursor.execute(sql)
            while True:
                results.append(self.result(cursor))
                if not cursor.nextset():
                    break
        except self.Error as error:
            results.append({"error": self.fault(error)})
        finally:
            cursor.close()
        return {"results": results}

    def step_begin(self, connection, _):
        connection.begin()
        return {"ok": True}

    def step_commit(self, connection, _):
        connection.commit()
        return {"ok": True}

    def step_rollback(self, connection, _):
        connection.rollback()
        return {"ok": True}

    def step_autocommit(self, connection, to):
        connection.autocommit(to)
        return {"ok": True}

    def step_ping(self, connection, _):
        connection.ping()
        return {"ok": True}

    def step_use(self, connection, database):
        connection.select_db(database)
        return {"ok": True}

    def step_identity(self, connection, _):
        cursor = connection.cursor()
        cursor.execute("SELECT CONNECTION_ID()")
        (found,), = cursor.fetchall()
        cursor.close()
        return {"equal": found == self.thread(connection)}

    def step_infile(self, connection, given):
        return self.step_query(connection, given["sql"])

    def step_kill(self, connection, given):
        """`given.sql` runs on this connection until another one says KILL QUERY."""
        return self.stopped(connection, given["sql"], "KILL QUERY %d" % self.thread(connection))

    def step_terminate(self, connection, name):
        victim, killer = self.open[name], self.login()
        self.step_query(killer, "KILL %d" % self.thread(victim))
        killer.close()
        return {"lost": "error" in self.caught(self.step_query, victim, "SELECT 1")}

    def stopped(self, connection, sql, kill):
        killer, done = self.login(), threading.Event()

        # The statement may not have begun when the first KILL arrives, so it is said again.
        def keep_killing():
            while not done.wait(0.05):
                self.step_query(killer, kill)

        thread = threading.Thread(target=keep_killing)
        thread.start()
        try:
            return self.caught(self.step_query, connection, sql)
        finally:
            done.set()
            thread.join()
            killer.close()

    # -- running --

    def caught(self, function, *given):
        try:
            return function(*given)
        except self.Error as error:
            return {"error": self.fault(error)}
        except (ValueError, ArithmeticError, LookupError, struct.error) as error:
            # What the driver cannot read; it must fail alike in both places.
            return {"error": [type(error).__name__, str(error)]}

    def run(self):
        with open(self.given.checklist, encoding="utf-8") as file:
            behaviours = json.load(file)
        janitor = self.login()
        for behaviour in behaviours:
            for sql in behaviour["given"]:
                self.step_query(janitor, sql)
            self.behave(behaviour)
        janitor.close()

    def behave(self, behaviour):
        results = []
        try:
            for step in behaviour["steps"]:
                results.append(self.caught(self.step, step))
        except Unsupported as error:
            said(behaviour["id"], unsupported=str(error))
        else:
            said(behaviour["id"], steps=results)
        for connection in self.open.values():
            try:
                connection.close()
            except self.Error:
                pass
        self.open = {}

    def step(self, step):
        method = getattr(self, "step_" + step["op"], None)
        if method is None:
            raise Unsupported(step["op"])
        connection = None
        if step["op"] not in ("connect", "close", "terminate", "pool"):
            name = step["by"]
            if name not in self.open:
                self.open[name] = self.login()
            connection = self.open[name]
        return method(connection, step["arg"])


def without(options, *names):
    """The options, after a refusal of those that the driver cannot take."""
    for name in names:
        if options.pop(name, None):
            raise Unsupported(name)
    return options
