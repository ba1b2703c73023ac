"""The checklist by PyMySQL."""

import ssl

import pymysql
from pymysql.cursors import SSCursor

from checklist import Driver, arguments, value, without


class PyMySQL(Driver):
    Error = pymysql.err.Error

    def connect(self, tls=None, init=None, found_rows=False, multi=None, local_infile=False, attributes=None, **options):
        without(options, "compress")
        if attributes:
            options["program_name"] = attributes["program_name"]
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            options["ssl"] = context
        else:
            options["ssl_disabled"] = True
        flags = pymysql.constants.CLIENT.FOUND_ROWS if found_rows else 0
        if multi:
            flags |= pymysql.constants.CLIENT.MULTI_STATEMENTS
        return pymysql.connect(host=self.given.host, port=self.given.port, init_command=init, client_flag=flags,
                               local_infile=local_infile, connect_timeout=20, **options)

    def thread(self, connection):
        return connection.thread_id()

    def columns(self, cursor):
        fields = cursor._result.fields if cursor._result else []
        return [[field.name, field.type_code, field.flags, field.length, field.scale, field.charsetnr,
                 field.table_name, field.org_table, field.org_name] for field in fields]

    def extra(self, cursor):
        found = cursor._result
        return {"status": found.server_status, "warnings": found.warning_count,
                "message": value(found.message)} if found else {}

    def step_warnings(self, connection, _):
        return {"warnings": [list(map(str, warning)) for warning in connection.show_warnings()]}

    def step_stream(self, connection, given):
        cursor = connection.cursor(SSCursor)
        cursor.execute(given["sql"])
        rows = []
        for row in cursor:
            rows.append([value(cell) for cell in row])
            if len(rows) == given.get("take"):
                break
        if given.get("close"):
            connection._force_close()
        else:
            cursor.close()
        return {"rows": rows}

    def step_timeout(self, connection, given):
        options = dict(user=self.given.user, password=self.given.password, database=self.given.database)
        hasty = self.connect(read_timeout=given["seconds"], **options)
        return self.caught(self.step_query, hasty, given["sql"])


PyMySQL(arguments()).run()
