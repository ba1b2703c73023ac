"""The checklist by mysql-connector-python, once in pure Python and once with its C extension."""

import os
import sys

import mysql.connector
import mysql.connector.pooling
from mysql.connector.constants import ClientFlag

from checklist import Driver, Unsupported, arguments, parameter, value

try:
    # Lets some of its own errors through.
    from _mysql_connector import MySQLInterfaceError
except ImportError:
    MySQLInterfaceError = mysql.connector.Error


class Connector(Driver):
    Error = (mysql.connector.Error, MySQLInterfaceError)

    def connect(self, tls=None, init=None, found_rows=False, multi=None, local_infile=False, compress=False,
                attributes=None, autocommit=True, **options):
        flags = [ClientFlag.FOUND_ROWS if found_rows else -ClientFlag.FOUND_ROWS]
        if multi is False:
            flags.append(-ClientFlag.MULTI_STATEMENTS)
        options = {key: option for key, option in options.items() if option is not None}
        if attributes:
            options["conn_attrs"] = attributes
        if init:
            options["init_command"] = init
        return mysql.connector.connect(host=self.given.host, port=self.given.port, ssl_disabled=not tls,
                                       client_flags=flags, allow_local_infile=local_infile, compress=compress,
                                       use_pure=self.given.variant == "pure", autocommit=autocommit,
                                       connection_timeout=20, **options)

    def fault(self, error):
        return [type(error).__name__, error.errno, error.sqlstate, error.msg]

    def thread(self, connection):
        return connection.connection_id

    def extra(self, cursor):
        # The cursor counts warnings; fetching them would send a statement of its own.
        return {"warnings": cursor.warning_count} if hasattr(cursor, "warning_count") else {}

    def step_query(self, connection, sql):
        cursor = connection.cursor(buffered=True)
        try:
            cursor.execute(sql)
            return self.result(cursor)
        finally:
            cursor.close()

    def step_prepared(self, connection, given):
        if isinstance(given["with"], list) and any(isinstance(cell, bool) for row in given["with"] for cell in row):
            raise Unsupported("booleans")
        cursor = connection.cursor(prepared=True)
        runs = []
        try:
            for number, row in enumerate(given["with"]):
                if number == 1 and "between" in given:
                    self.step_query(connection, given["between"])
                runs.append(self.caught(self.prepared_run, cursor, given["sql"], row))
        finally:
            # A row that the driver cannot read leaves the others unread.
            connection.consume_results()
            cursor.close()
        return {"runs": runs}

    def prepared_run(self, cursor, sql, row):
        row = tuple(parameter(cell) for cell in row)
        if self.given.variant == "c":
            # The C extension cannot convert them, and dies of that when it ends.
            row = tuple(str(cell) if isinstance(cell, int) and cell >= 1 << 63 else cell for cell in row)
        cursor.execute(sql, row)
        return self.result(cursor)

    def step_begin(self, connection, _):
        connection.start_transaction()
        return {"ok": True}

    def step_autocommit(self, connection, to):
        connection.autocommit = to
        return {"ok": True}

    def step_ping(self, connection, _):
        connection.ping(reconnect=False)
        return {"ok": True}

    def step_use(self, connection, database):
        connection.cmd_init_db(database)
        return {"ok": True}

    def step_reset(self, connection, _):
        connection.reset_session()
        return {"ok": True}

    def step_change_user(self, connection, given):
        connection.cmd_change_user(given["user"], given.get("password", self.given.password), self.given.database)
        return {"ok": True}

    def step_multi(self, connection, sql):
        cursor = connection.cursor()
        results = []
        try:
            cursor.execute(sql)
            results.append(self.result(cursor))
            while cursor.nextset():
                results.append(self.result(cursor))
        except self.Error as error:
            results.append({"error": self.fault(error)})
        finally:
            try:
                cursor.close()
            except self.Error:
                pass
        return {"results": results}

    def step_stream(self, connection, given):
        cursor = connection.cursor(buffered=False)
        cursor.execute(given["sql"])
        rows = []
        for row in cursor:
            rows.append([value(cell) for cell in row])
            if len(rows) == given.get("take"):
                break
        if given.get("close"):
            connection.shutdown() if self.given.variant == "pure" else connection.close()
            self.open.pop("other", None)
        else:
            if "take" in given:
                connection.consume_results()
            cursor.close()
        return {"rows": rows}

    def step_pool(self, connection, steps):
        pool = mysql.connector.pooling.MySQLConnectionPool(
            pool_name="pool", pool_size=1, pool_reset_session=True, host=self.given.host, port=self.given.port,
            user=self.given.user, password=self.given.password, database=self.given.database, ssl_disabled=True,
            use_pure=self.given.variant == "pure")
        results = []
        for step in steps:
            taken = pool.get_connection()
            results.append(self.caught(self.step_query, taken, step["query"]))
            taken.close()
        pool._remove_connections()
        return {"results": results}


Connector(arguments(("pure", "c"))).run()
# The C extension brings its own OpenSSL; two of them do not end a process in peace.
sys.stdout.flush()
os._exit(0)
