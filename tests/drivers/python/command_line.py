"""The checklist by the command line clients, `mariadb` and `mysql`: one process for each run of a behaviour.

They are told to show everything (columns, affected rows, warnings); what stands between two echoed statements is the
answer to the first.
"""

import os
import re
import shutil
import subprocess

from checklist import Unsupported, arguments, json, said

ECHO = re.compile(r"^--------------\n(?:.*\n)*?--------------\n\n", re.MULTILINE)
TIME = re.compile(r" \((?:\d+ hours? )?(?:\d+ min )?\d+\.\d+ sec\)")


def program(variant):
    """`mysql` is the client beside the server that the tests were told to use."""
    if variant == "mysql":
        return os.path.join(os.path.dirname(os.environ["SHARDWAY_TEST_MYSQLD"]), "mysql")
    return shutil.which("mariadb") or shutil.which("mysql")


class CommandLine:
    def __init__(self, given):
        self.given = given
        self.program = program(given.variant)

    def options(self, user=None, password=None, database="", tls=False, charset=None, init=None, compress=False,
                local_infile=False, multi=True, **others):
        for name in others:
            raise Unsupported(name)
        if not multi:
            raise Unsupported("multi")
        mysql = self.given.variant == "mysql"
        options = ["--no-defaults", "--protocol=tcp", "--force", "-vvv", "--column-type-info", "--unbuffered",
                   "--delimiter=//", "--connect-timeout=20", "--host=" + self.given.host,
                   "--port=%d" % self.given.port, "--user=" + (user or self.given.user),
                   "--password=" + (self.given.password if password is None else password)]
        if tls:
            options.append("--ssl-mode=REQUIRED" if mysql else "--ssl")
        else:
            options.append("--ssl-mode=DISABLED" if mysql else "--skip-ssl")
        if mysql and not tls:
            options.append("--get-server-public-key")
        if charset:
            options.append("--default-character-set=" + charset)
        if init:
            options.append("--init-command=" + init)
        if compress:
            options.append("--compress")
        if local_infile:
            options.append("--local-infile=1")
        if database is not None:
            options.append(database or self.given.database)
        return options

    def ask(self, options, statements):
        text = "".join(statement + "\n//\n" for statement in statements)
        # Errors and rows in the order in which they came.
        ended = subprocess.run(["stdbuf", "-o0", self.program] + options, input=text.encode(), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=60)
        return ended.stdout.decode("utf-8", "backslashreplace")

    def run(self):
        with open(self.given.checklist, encoding="utf-8") as file:
            behaviours = json.load(file)
        for behaviour in behaviours:
            try:
                options, statements = self.script(behaviour)
            except Unsupported as error:
                said(behaviour["id"], unsupported=str(error))
                continue
            if behaviour["given"]:
                self.ask(self.options(), behaviour["given"])
            answers = [self.rows(part) for part in ECHO.split(TIME.sub("", self.ask(options, statements)))]
            # What stands before the first echo belongs to the login.
            said(behaviour["id"], steps=self.by_step(behaviour, answers))

    def by_step(self, behaviour, answers):
        results, echoed = [], 0
        for step in behaviour["steps"]:
            if step["op"] == "connect":
                results.append({"login": answers[0]})
            elif self.statement(step) is None:
                results.append({"unsupported": step["op"]})
            else:
                echoed += 1
                results.append(answers[echoed] if echoed < len(answers) else {"rows": None})
        return results

    def rows(self, text):
        lines = [line for line in text.split("\n") if line and not line.startswith("mysql: [Warning]")]
        return {"rows": lines}

    def statement(self, step):
        """What a user of the command line types for a step; None when there is nothing to type."""
        op, arg = step["op"], step["arg"]
        if op in ("query", "multi"):
            return arg or None
        if op == "use":
            return "USE " + arg
        if op == "infile":
            return arg["sql"]
        if op == "autocommit":
            return "SET autocommit = %d" % arg
        return {"begin": "BEGIN", "commit": "COMMIT", "rollback": "ROLLBACK"}.get(op)

    def script(self, behaviour):
        options, steps = self.options(), behaviour["steps"]
        if len({step["by"] for step in steps if step["op"] != "connect"}) > 1:
            raise Unsupported("several connections")
        for number, step in enumerate(steps):
            if step["op"] in ("terminate", "pool", "change_user", "reset") or step["op"] == "connect" and number > 0:
                raise Unsupported(step["op"])
        if steps[0]["op"] == "connect":
            given = dict(steps[0]["arg"])
            given.pop("as", None)
            options = self.options(**given)
        statements = [self.statement(step) for step in steps if step["op"] != "connect"]
        statements = [statement for statement in statements if statement is not None]
        if not statements and steps[0]["op"] != "connect":
            raise Unsupported(steps[0]["op"])
        return options, statements


CommandLine(arguments(("mariadb", "mysql"))).run()
