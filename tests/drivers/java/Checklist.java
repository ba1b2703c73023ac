import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.sql.*;
import java.util.*;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * The checklist by JDBC: MySQL's Connector/J and MariaDB's connector, each with parameters written into the text and with
 * prepared statements of the server. ../README.md says what the steps mean.
 */
public class Checklist {
    static final Gson JSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
    static final Map<String, String> given = new HashMap<>();
    static final Map<String, Connection> open = new LinkedHashMap<>();

    /** The driver has no means for a step. */
    static class Unsupported extends RuntimeException {
        Unsupported(String what) {
            super(what);
        }
    }

    static boolean mariadb() {
        return given.get("variant").startsWith("mariadb");
    }

    static boolean onServer() {
        return given.get("variant").endsWith("server");
    }

    // -- connecting --

    static Connection login(JsonObject wanted) throws SQLException {
        Properties options = new Properties();
        options.put("user", text(wanted, "user", given.get("user")));
        options.put("password", text(wanted, "password", given.get("password")));
        options.put("connectTimeout", "20000");
        options.put("allowPublicKeyRetrieval", "true");
        options.put("allowMultiQueries", String.valueOf(flag(wanted, "multi")));
        options.put("useServerPrepStmts", String.valueOf(onServer()));
        options.put("rewriteBatchedStatements", String.valueOf(onServer()));
        options.put(mariadb() ? "allowLocalInfile" : "allowLoadLocalInfile", String.valueOf(flag(wanted, "local_infile")));
        options.put("useAffectedRows", String.valueOf(!flag(wanted, "found_rows")));
        if (mariadb()) {
            options.put("sslMode", flag(wanted, "tls") ? "trust" : "disable");
            options.put("useCompression", String.valueOf(flag(wanted, "compress")));
            if (wanted.has("init")) {
                options.put("initSql", wanted.get("init").getAsString());
            }
        } else {
            options.put("sslMode", flag(wanted, "tls") ? "REQUIRED" : "DISABLED");
            options.put("useCompression", String.valueOf(flag(wanted, "compress")));
            options.put("useCursorFetch", String.valueOf(onServer()));
            options.put("connectionTimeZone", "UTC");
            options.put("useLocalSessionState", "false");
            if (wanted.has("init")) {
                throw new Unsupported("init");
            }
        }
        if (wanted.has("collation")) {
            options.put("connectionCollation", wanted.get("collation").getAsString());
        } else if (wanted.has("charset")) {
            if (mariadb() || !wanted.get("charset").getAsString().equals("latin1")) {
                throw new Unsupported("charset");
            }
            options.put("characterEncoding", "ISO-8859-1");
        }
        if (wanted.has("attributes")) {
            StringBuilder pairs = new StringBuilder();
            wanted.getAsJsonObject("attributes").entrySet().forEach(pair ->
                pairs.append(pairs.isEmpty() ? "" : ",").append(pair.getKey()).append(':').append(pair.getValue().getAsString()));
            options.put("connectionAttributes", pairs.toString());
        }
        String database = !wanted.has("database") ? given.get("database")
            : wanted.get("database").isJsonNull() ? "" : wanted.get("database").getAsString();
        String url = "jdbc:" + (mariadb() ? "mariadb" : "mysql") + "://" + given.get("host") + ":" + given.get("port") + "/" + database;
        Connection connection = DriverManager.getConnection(url, options);
        if (wanted.has("autocommit")) {
            connection.setAutoCommit(flag(wanted, "autocommit"));
        }
        return connection;
    }

    static String text(JsonObject object, String key, String otherwise) {
        return object.has(key) ? object.get(key).getAsString() : otherwise;
    }

    static boolean flag(JsonObject object, String key) {
        return object.has(key) && object.get(key).getAsBoolean();
    }

    // -- answers --

    static JsonObject ok() {
        return answer("ok", new JsonPrimitive(true));
    }

    static JsonObject answer(String key, JsonElement content) {
        JsonObject answer = new JsonObject();
        answer.add(key, content);
        return answer;
    }

    interface Action {
        JsonObject run() throws Exception;
    }

    static JsonObject caught(Action action) throws Exception {
        try {
            return action.run();
        } catch (SQLException error) {
            return fault(error);
        }
    }

    static JsonObject fault(SQLException error) {
        JsonArray parts = new JsonArray();
        parts.add(error.getClass().getSimpleName());
        parts.add(error.getErrorCode());
        parts.add(error.getSQLState());
        // Connectors name the connection or the time in some messages.
        String message = String.valueOf(error.getMessage());
        message = message.replaceAll("\\(conn=-?\\d+\\)", "(conn)").replaceAll("\\d[\\d,.]* (milli)?seconds", "some time");
        message = message.replaceAll("Communications link failure[\\s\\S]*", "Communications link failure");
        parts.add(message);
        return answer("error", parts);
    }

    static JsonElement value(Object found) throws Exception {
        if (found == null) {
            return null;
        }
        String text;
        if (found instanceof byte[] bytes) {
            text = HexFormat.of().formatHex(bytes);
        } else if (found instanceof Blob blob) {
            text = HexFormat.of().formatHex(blob.getBytes(1, (int) blob.length()));
        } else {
            text = found.toString();
        }
        if (text.length() > 100) {
            byte[] digest = MessageDigest.getInstance("MD5").digest(text.getBytes(StandardCharsets.UTF_8));
            text = text.length() + ":" + HexFormat.of().formatHex(digest);
        }
        return new JsonPrimitive(found.getClass().getSimpleName() + ":" + text);
    }

    static JsonObject rows(ResultSet found, int take) throws Exception {
        ResultSetMetaData about = found.getMetaData();
        JsonArray columns = new JsonArray();
        for (int column = 1; column <= about.getColumnCount(); column++) {
            JsonArray parts = new JsonArray();
            parts.add(about.getColumnLabel(column));
            parts.add(about.getColumnName(column));
            parts.add(about.getTableName(column));
            parts.add(about.getColumnTypeName(column));
            parts.add(about.getColumnClassName(column));
            parts.add(about.getPrecision(column));
            parts.add(about.getScale(column));
            parts.add(about.getColumnDisplaySize(column));
            parts.add(about.isNullable(column));
            parts.add(about.isAutoIncrement(column));
            parts.add(about.isSigned(column));
            columns.add(parts);
        }
        JsonArray rows = new JsonArray();
        while (rows.size() != take && found.next()) {
            JsonArray row = new JsonArray();
            for (int column = 1; column <= columns.size(); column++) {
                row.add(cell(found, column));
            }
            rows.add(row);
        }
        JsonObject answer = answer("columns", columns);
        answer.add("rows", rows);
        return answer;
    }

    /** What one cell holds; connectors refuse some, as dates that are no dates. */
    static JsonElement cell(ResultSet found, int column) throws Exception {
        try {
            return value(found.getObject(column));
        } catch (SQLException error) {
            return fault(error);
        } catch (IllegalArgumentException error) {
            return new JsonPrimitive(error.toString());
        }
    }

    /** The result that a statement is at: rows or a count. */
    static JsonObject current(Statement statement, boolean rows) throws Exception {
        if (rows) {
            try (ResultSet found = statement.getResultSet()) {
                return rows(found, -1);
            }
        }
        JsonObject answer = answer("affected", new JsonPrimitive(statement.getUpdateCount()));
        JsonArray ids = new JsonArray();
        try (ResultSet keys = statement.getGeneratedKeys()) {
            while (keys.next()) {
                ids.add(keys.getLong(1));
            }
        } catch (SQLException error) {
            ids.add(error.getSQLState());
        }
        answer.add("ids", ids);
        return answer;
    }

    static JsonArray warnings(Statement statement) throws SQLException {
        JsonArray warnings = new JsonArray();
        for (SQLWarning warning = statement.getWarnings(); warning != null; warning = warning.getNextWarning()) {
            warnings.add(warning.getErrorCode() + " " + warning.getMessage());
        }
        return warnings;
    }

    // -- steps --

    static JsonObject query(Connection connection, String sql) throws Exception {
        try (Statement statement = connection.createStatement()) {
            JsonObject answer = current(statement, statement.execute(sql, Statement.RETURN_GENERATED_KEYS));
            answer.add("warnings", warnings(statement));
            return answer;
        }
    }

    static JsonObject multi(Connection connection, String sql) throws Exception {
        JsonArray results = new JsonArray();
        try (Statement statement = connection.createStatement()) {
            try {
                boolean rows = statement.execute(sql);
                while (rows || statement.getUpdateCount() != -1) {
                    results.add(current(statement, rows));
                    rows = statement.getMoreResults();
                }
            } catch (SQLException error) {
                results.add(fault(error));
            }
        }
        return answer("results", results);
    }

    static void bind(PreparedStatement statement, JsonArray row) throws SQLException {
        for (int at = 0; at < row.size(); at++) {
            statement.setObject(at + 1, parameter(row.get(at)));
        }
    }

    static Object parameter(JsonElement cell) {
        if (cell.isJsonNull()) {
            return null;
        }
        if (cell.isJsonObject()) {
            Map.Entry<String, JsonElement> tagged = cell.getAsJsonObject().entrySet().iterator().next();
            String text = tagged.getValue().getAsString();
            return switch (tagged.getKey()) {
                case "unsigned" -> new BigInteger(text);
                case "decimal" -> new BigDecimal(text);
                case "bytes" -> HexFormat.of().parseHex(text);
                case "date" -> java.time.LocalDate.parse(text);
                case "datetime" -> java.time.LocalDateTime.parse(text.replace(' ', 'T'));
                default -> throw new IllegalArgumentException(tagged.getKey());
            };
        }
        JsonPrimitive primitive = cell.getAsJsonPrimitive();
        if (primitive.isNumber()) {
            String text = primitive.getAsString();
            return text.matches("-?\\d+") ? (Object) Long.valueOf(text) : (Object) Double.valueOf(text);
        }
        return primitive.getAsString();
    }

    static JsonObject prepared(Connection connection, JsonObject step) throws Exception {
        JsonArray runs = new JsonArray();
        JsonArray rows = step.getAsJsonArray("with");
        try (PreparedStatement statement =
                 connection.prepareStatement(step.get("sql").getAsString(), Statement.RETURN_GENERATED_KEYS)) {
            for (int number = 0; number < rows.size(); number++) {
                if (number == 1 && step.has("between")) {
                    query(connection, step.get("between").getAsString());
                }
                JsonArray row = rows.get(number).getAsJsonArray();
                runs.add(caught(() -> {
                    bind(statement, row);
                    return current(statement, statement.execute());
                }));
            }
        } catch (SQLException error) {
            return answer("prepare", fault(error));
        }
        return answer("runs", runs);
    }

    static JsonObject preparedMany(Connection connection, JsonObject step) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("MD5");
        List<PreparedStatement> kept = new ArrayList<>();
        for (int number = 0; number < step.get("count").getAsInt(); number++) {
            String sql = step.get("sql").getAsString().replace("{number}", String.valueOf(number));
            PreparedStatement statement = connection.prepareStatement(sql);
            kept.add(statement);
            bind(statement, step.getAsJsonArray("with"));
            try (ResultSet found = statement.executeQuery()) {
                digest.update(JSON.toJson(rows(found, -1)).getBytes(StandardCharsets.UTF_8));
            }
        }
        for (PreparedStatement statement : kept) {
            statement.close();
        }
        return answer("digest", new JsonPrimitive(HexFormat.of().formatHex(digest.digest())));
    }

    static JsonObject batch(Connection connection, JsonObject step) throws Exception {
        JsonArray counts = new JsonArray();
        try (PreparedStatement statement = connection.prepareStatement(step.get("sql").getAsString())) {
            for (JsonElement row : step.getAsJsonArray("with")) {
                bind(statement, row.getAsJsonArray());
                statement.addBatch();
            }
            for (int count : statement.executeBatch()) {
                counts.add(count);
            }
        }
        return answer("counts", counts);
    }

    /** Rows one by one: what connectors do at this fetch size. */
    static JsonObject stream(Connection connection, JsonObject step) throws Exception {
        try (Statement statement = connection.createStatement(ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY)) {
            statement.setFetchSize(mariadb() ? 1 : Integer.MIN_VALUE);
            try (ResultSet found = statement.executeQuery(step.get("sql").getAsString())) {
                JsonObject answer = rows(found, step.has("take") ? step.get("take").getAsInt() : -1);
                if (flag(step, "close")) {
                    connection.abort(Runnable::run);
                }
                return answer;
            } catch (SQLException error) {
                if (!flag(step, "close")) {
                    throw error;
                }
                return answer("closed", new JsonPrimitive(true));
            }
        }
    }

    static JsonObject cursor(Connection connection, JsonObject step) throws Exception {
        if (mariadb() || !onServer()) {
            throw new Unsupported("cursor");
        }
        try (PreparedStatement statement = connection.prepareStatement(step.get("sql").getAsString())) {
            statement.setFetchSize(step.get("size").getAsInt());
            try (ResultSet found = statement.executeQuery()) {
                return rows(found, -1);
            }
        }
    }

    static long thread(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement();
             ResultSet found = statement.executeQuery("SELECT CONNECTION_ID()")) {
            found.next();
            return found.getLong(1);
        }
    }

    static JsonObject kill(Connection connection, String sql) throws Exception {
        long thread = thread(connection);
        Connection killer = login(new JsonObject());
        AtomicBoolean done = new AtomicBoolean();
        // The statement may not have begun when the first KILL arrives, so it is said again.
        Thread killing = new Thread(() -> {
            try (Statement statement = killer.createStatement()) {
                while (!done.get()) {
                    Thread.sleep(50);
                    statement.execute("KILL QUERY " + thread);
                }
            } catch (SQLException | InterruptedException error) {
                System.err.println(error);
            }
        });
        killing.start();
        try {
            return caught(() -> query(connection, sql));
        } finally {
            done.set(true);
            killing.join();
            killer.close();
        }
    }

    static JsonObject terminate(Connection victim) throws Exception {
        long thread = thread(victim);
        try (Connection killer = login(new JsonObject()); Statement statement = killer.createStatement()) {
            statement.execute("KILL " + thread);
        }
        return answer("lost", new JsonPrimitive(caught(() -> query(victim, "SELECT 1")).has("error")));
    }

    /** What tools ask through java.sql.DatabaseMetaData. */
    static JsonObject catalog(Connection connection, String table) throws Exception {
        DatabaseMetaData about = connection.getMetaData();
        String database = connection.getCatalog();
        JsonObject answer = new JsonObject();
        String[] kinds = {"TABLE"};
        answer.add("columns", names(about.getColumns(database, null, table, "%"), "COLUMN_NAME", "TYPE_NAME", "IS_NULLABLE"));
        answer.add("keys", names(about.getPrimaryKeys(database, null, table), "COLUMN_NAME", "KEY_SEQ"));
        answer.add("indexes", names(about.getIndexInfo(database, null, table, false, false), "INDEX_NAME", "COLUMN_NAME"));
        answer.add("tables", names(about.getTables(database, null, "%", kinds), "TABLE_NAME", "TABLE_TYPE"));
        answer.add("transactions", new JsonPrimitive(about.supportsTransactions()));
        answer.add("product", new JsonPrimitive(about.getDatabaseProductName() + " " + about.getDatabaseProductVersion()));
        return answer;
    }

    static JsonArray names(ResultSet found, String... columns) throws SQLException {
        JsonArray rows = new JsonArray();
        try (found) {
            while (found.next()) {
                JsonArray row = new JsonArray();
                for (String column : columns) {
                    row.add(found.getString(column));
                }
                rows.add(row);
            }
        }
        return rows;
    }

    static JsonObject timeout(Connection connection, JsonObject step) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(step.get("seconds").getAsInt());
            return current(statement, statement.execute(step.get("sql").getAsString()));
        }
    }

    static JsonObject connect(JsonObject wanted) throws Exception {
        String name = text(wanted, "as", "main");
        Connection old = open.remove(name);
        if (old != null) {
            old.close();
        }
        open.put(name, login(wanted));
        return ok();
    }

    static JsonObject end(Connection connection, boolean commit) throws SQLException {
        if (commit) {
            connection.commit();
        } else {
            connection.rollback();
        }
        if (begun) {
            begun = false;
            connection.setAutoCommit(true);
        }
        return ok();
    }

    /** Whether `begin` switched autocommit off, which is JDBC's way to begin. */
    static boolean begun;

    static JsonObject step(JsonObject step) throws Exception {
        String op = step.get("op").getAsString();
        JsonElement arg = step.get("arg");
        switch (op) {
            case "connect":
                return connect(arg.getAsJsonObject());
            case "close":
                open.remove(arg.getAsString()).close();
                return ok();
            case "terminate":
                return terminate(open.get(arg.getAsString()));
            default:
                String name = step.get("by").getAsString();
                if (!open.containsKey(name)) {
                    open.put(name, login(new JsonObject()));
                }
                return stepOn(open.get(name), op, arg);
        }
    }

    static JsonObject stepOn(Connection connection, String op, JsonElement arg) throws Exception {
        switch (op) {
            case "query":
            case "infile":
                return query(connection, arg.isJsonObject() ? arg.getAsJsonObject().get("sql").getAsString() : arg.getAsString());
            case "multi":
                return multi(connection, arg.getAsString());
            case "prepared":
                return prepared(connection, arg.getAsJsonObject());
            case "prepared_many":
                return preparedMany(connection, arg.getAsJsonObject());
            case "batch":
                return batch(connection, arg.getAsJsonObject());
            case "begin":
                connection.setAutoCommit(false);
                begun = true;
                return ok();
            case "commit":
                return end(connection, true);
            case "rollback":
                return end(connection, false);
            case "autocommit":
                connection.setAutoCommit(arg.getAsBoolean());
                return ok();
            case "ping":
                return answer("valid", new JsonPrimitive(connection.isValid(20)));
            case "use":
                connection.setCatalog(arg.getAsString());
                return ok();
            case "stream":
                return stream(connection, arg.getAsJsonObject());
            case "cursor":
                return cursor(connection, arg.getAsJsonObject());
            case "kill":
                return kill(connection, arg.getAsJsonObject().get("sql").getAsString());
            case "catalog":
                return catalog(connection, arg.getAsString());
            case "timeout":
                return timeout(connection, arg.getAsJsonObject());
            default:
                return own(connection, op, arg);
        }
    }

    /** What one of the connectors alone has. */
    static JsonObject own(Connection connection, String op, JsonElement arg) throws Exception {
        if (connection instanceof com.mysql.cj.jdbc.JdbcConnection mysql) {
            switch (op) {
                case "reset":
                    mysql.resetServerState();
                    return ok();
                case "change_user":
                    JsonObject user = arg.getAsJsonObject();
                    mysql.changeUser(user.get("user").getAsString(), text(user, "password", given.get("password")));
                    return ok();
                case "identity":
                    long known = ((com.mysql.cj.jdbc.ConnectionImpl) mysql).getSession().getServerSession().getCapabilities().getThreadId();
                    return answer("equal", new JsonPrimitive(known == thread(connection)));
                default:
            }
        } else if (connection instanceof org.mariadb.jdbc.Connection mariadb) {
            switch (op) {
                case "reset":
                    mariadb.reset();
                    return ok();
                case "identity":
                    return answer("equal", new JsonPrimitive(mariadb.getThreadId() == thread(connection)));
                default:
            }
        }
        throw new Unsupported(op);
    }

    static void behave(JsonObject behaviour) throws Exception {
        JsonObject line = new JsonObject();
        line.add("id", behaviour.get("id"));
        begun = false;
        try {
            JsonArray steps = new JsonArray();
            for (JsonElement step : behaviour.getAsJsonArray("steps")) {
                steps.add(caught(() -> step(step.getAsJsonObject())));
            }
            line.add("steps", steps);
        } catch (Unsupported missing) {
            line.addProperty("unsupported", missing.getMessage());
        }
        System.out.println(JSON.toJson(line));
        for (Connection connection : open.values()) {
            try {
                connection.close();
            } catch (SQLException error) {
                // Some were ended by what the behaviour is about.
            }
        }
        open.clear();
    }

    public static void main(String[] arguments) throws Exception {
        for (String argument : arguments) {
            String[] pair = argument.substring(2).split("=", 2);
            given.put(pair[0], pair[1]);
        }
        System.setOut(new java.io.PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), true, StandardCharsets.UTF_8));
        String file = Files.readString(Path.of(given.get("checklist")));
        try (Connection janitor = login(new JsonObject())) {
            for (JsonElement behaviour : JSON.fromJson(file, JsonArray.class)) {
                for (JsonElement sql : behaviour.getAsJsonObject().getAsJsonArray("given")) {
                    try (Statement statement = janitor.createStatement()) {
                        statement.execute(sql.getAsString());
                    }
                }
                behave(behaviour.getAsJsonObject());
            }
        }
        System.exit(0);
    }
}
