"""The checklist by mysqlclient (MySQLdb), which is libmariadb or libmysqlclient below."""

import MySQLdb
from MySQLdb.constants import CLIENT
from MySQLdb.cursors import SSCursor

from checklist import Driver, arguments, value, without


class MySQLClient(Driver):
    Error = MySQLdb.Error

    def connect(self, tls=None, init=None, found_rows=False, multi=True, local_infile=False, compress=False, charset=None,
                database=None, autocommit=True, **options):
        without(options, "attributes", "collation")
        if init:
            options["init_command"] = init
        if tls:
            options["ssl"] = {"ca": None}
        flags = (CLIENT.FOUND_ROWS if found_rows else 0) | (CLIENT.MULTI_STATEMENTS if multi else 0)
        # The character set of the driver's own default is latin1.
        connection = MySQLdb.connect(host=self.given.host, port=self.given.port, db=database or "",
                                     passwd=options.pop("password"), client_flag=flags,
                                     local_infile=1 if local_infile else 0, compress=1 if compress else 0,
                                     charset=charset or "utf8mb4", connect_timeout=20, **options)
        connection.autocommit(autocommit)
        return connection

    def thread(self, connection):
        return connection.thread_id()

    def columns(self, cursor):
        return [list(map(str, column)) + [flag] for column, flag in zip(cursor.description, cursor.description_flags)]

    def extra(self, cursor):
        return {"info": value(cursor._info)} if hasattr(cursor, "_info") else {}

    def step_begin(self, connection, _):
        # What the driver had, it has taken away.
        return self.step_query(connection, "BEGIN")

    def step_change_user(self, connection, given):
        connection.change_user(given["user"], given.get("password", self.given.password), self.given.database)
        return {"ok": True}

    def step_warnings(self, connection, _):
        return {"warnings": connection.warning_count()}

    def step_stream(self, connection, given):
        cursor = connection.cursor(SSCursor)
        cursor.execute(given["sql"])
        rows = []
        while len(rows) != given.get("take"):
            row = cursor.fetchone()
            if row is None:
                break
            rows.append([value(cell) for cell in row])
        if given.get("close"):
            connection.close()
            self.open.pop("other", None)
        else:
            cursor.close()
        return {"rows": rows}

    def step_timeout(self, connection, given):
        hasty = MySQLdb.connect(host=self.given.host, port=self.given.port, db=self.given.database,
                                user=self.given.user, passwd=self.given.password, read_timeout=given["seconds"])
        return self.caught(self.step_query, hasty, given["sql"])


MySQLClient(arguments()).run()
