import static org.jooq.impl.DSL.avg;
import static org.jooq.impl.DSL.count;
import static org.jooq.impl.DSL.field;
import static org.jooq.impl.DSL.name;
import static org.jooq.impl.DSL.sum;
import static org.jooq.impl.DSL.table;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.util.*;
import org.jooq.*;
import org.jooq.Record;
import org.jooq.exception.DataAccessException;
import org.jooq.impl.DSL;
import org.jooq.impl.SQLDataType;

/** A small shop by jOOQ over MySQL's Connector/J, with prepared statements of the server. */
public class Shop {
    static final Gson JSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
    static final Table<Record> CUSTOMERS = table(name("customers"));
    static final Table<Record> ORDERS = table(name("orders"));
    static final Field<Long> ID = field(name("customers", "id"), Long.class);
    static final Field<String> NAME = field(name("customers", "name"), String.class);
    static final Field<Long> CUSTOMER = field(name("orders", "customer_id"), Long.class);
    static final Field<Integer> NUMBER = field(name("orders", "number"), Integer.class);
    static final Field<BigDecimal> TOTAL = field(name("orders", "total"), BigDecimal.class);

    static DSLContext db;

    interface Part {
        Object run() throws Exception;
    }

    static void said(String id, Part part) throws Exception {
        JsonObject answer = new JsonObject();
        try {
            Object found = part.run();
            if (found instanceof Result<?> rows) {
                answer.add("rows", rows(rows));
            } else {
                answer.addProperty("found", String.valueOf(found));
            }
        } catch (DataAccessException error) {
            String cause = error.getCause() == null ? "" : error.getCause().getMessage();
            answer.addProperty("error", error.sqlState() + " " + cause);
        }
        JsonArray steps = new JsonArray();
        steps.add(answer);
        JsonObject line = new JsonObject();
        line.addProperty("id", "shop " + id);
        line.add("steps", steps);
        System.out.println(JSON.toJson(line));
    }

    static JsonArray rows(Result<?> rows) {
        JsonArray all = new JsonArray();
        for (Record row : rows) {
            JsonArray cells = new JsonArray();
            for (int at = 0; at < row.size(); at++) {
                Object cell = row.get(at);
                cells.add(cell == null ? null : cell.getClass().getSimpleName() + ":" + cell);
            }
            all.add(cells);
        }
        return all;
    }

    static Object create() {
        for (long id = 1; id <= 5; id++) {
            db.insertInto(CUSTOMERS, ID, NAME).values(id, "customer " + id).execute();
        }
        InsertValuesStep3<Record, Long, Integer, BigDecimal> insert = db.insertInto(ORDERS, CUSTOMER, NUMBER, TOTAL);
        for (int number = 1; number <= 3; number++) {
            insert = insert.values(1L, number, BigDecimal.valueOf(10L * number));
        }
        int one = insert.execute();
        List<Query> batch = new ArrayList<>();
        for (long id = 2; id <= 5; id++) {
            batch.add(db.insertInto(ORDERS, CUSTOMER, NUMBER, TOTAL).values(id, 1, BigDecimal.TEN));
        }
        return one + " " + Arrays.toString(db.batch(batch).execute());
    }

    static Object update() {
        int changed = db.update(ORDERS).set(TOTAL, TOTAL.plus(1)).where(CUSTOMER.eq(1L)).execute();
        int upsert = db.insertInto(CUSTOMERS, ID, NAME).values(1L, "renamed").onDuplicateKeyUpdate().set(NAME, "renamed").execute();
        return changed + " " + upsert + " " + db.fetchOne(db.select(NAME).from(CUSTOMERS).where(ID.eq(1L)));
    }

    static Object commit() {
        db.transaction(outer -> {
            DSLContext tx = outer.dsl();
            tx.select(NAME).from(CUSTOMERS).where(ID.eq(1L)).forUpdate().fetch();
            tx.insertInto(ORDERS, CUSTOMER, NUMBER, TOTAL).values(1L, 10, BigDecimal.ONE).execute();
            try {
                tx.transaction(inner -> {
                    inner.dsl().insertInto(ORDERS, CUSTOMER, NUMBER, TOTAL).values(1L, 11, BigDecimal.ONE).execute();
                    inner.dsl().insertInto(ORDERS, CUSTOMER, NUMBER, TOTAL).values(1L, 11, BigDecimal.ONE).execute();
                });
            } catch (DataAccessException duplicate) {
                // The savepoint takes back what the inner one did.
            }
        });
        return orders();
    }

    static Object rollback() {
        try {
            db.transaction(outer -> {
                outer.dsl().deleteFrom(ORDERS).where(CUSTOMER.eq(1L)).execute();
                throw new IllegalStateException();
            });
        } catch (IllegalStateException back) {
            return orders();
        }
        return "not rolled back";
    }

    static int orders() {
        return db.fetchCount(db.selectFrom(ORDERS).where(CUSTOMER.eq(1L)));
    }

    static Object tables() {
        List<String> found = new ArrayList<>();
        for (Table<?> table : db.meta().getTables("orders")) {
            for (Field<?> column : own(table) ? table.fields() : new Field<?>[0]) {
                found.add(column.getName() + " " + column.getDataType().getTypeName() + " " + column.getDataType().nullable());
            }
        }
        return found;
    }

    static String database;

    /** The server has tables of other databases, too. */
    static boolean own(Table<?> table) {
        return table.getSchema() != null && table.getSchema().getName().equals(database);
    }

    public static void main(String[] arguments) throws Exception {
        System.setProperty("org.jooq.no-logo", "true");
        System.setProperty("org.jooq.no-tips", "true");
        System.setOut(new java.io.PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), true, StandardCharsets.UTF_8));
        Map<String, String> given = new HashMap<>();
        for (String argument : arguments) {
            String[] pair = argument.substring(2).split("=", 2);
            given.put(pair[0], pair[1]);
        }
        database = given.get("database");
        String url = "jdbc:mysql://" + given.get("host") + ":" + given.get("port") + "/" + database
            + "?sslMode=DISABLED&allowPublicKeyRetrieval=true&useServerPrepStmts=true&cachePrepStmts=true&connectionTimeZone=UTC";
        try (Connection connection = DriverManager.getConnection(url, given.get("user"), given.get("password"))) {
            db = DSL.using(connection, SQLDialect.MYSQL);
            said("schema", () -> db.createTableIfNotExists("customers").column("id", SQLDataType.BIGINT.notNull())
                .column("name", SQLDataType.VARCHAR(60)).primaryKey("id").execute()
                + db.createTableIfNotExists("orders").column("customer_id", SQLDataType.BIGINT.notNull())
                .column("number", SQLDataType.INTEGER.notNull()).column("total", SQLDataType.DECIMAL(10, 2))
                .primaryKey("customer_id", "number").execute());
            said("create", Shop::create);
            said("read", () -> db.select(NAME, NUMBER, TOTAL).from(CUSTOMERS).join(ORDERS).on(CUSTOMER.eq(ID))
                .where(ID.eq(1L)).orderBy(TOTAL.desc()).fetch());
            said("aggregate", () -> db.select(count(), sum(TOTAL), avg(TOTAL)).from(ORDERS).where(CUSTOMER.eq(1L)).fetch());
            said("update", Shop::update);
            said("commit", Shop::commit);
            said("rollback", Shop::rollback);
            said("every", () -> db.select(ID, NAME).from(CUSTOMERS).fetch().sortAsc(0));
            said("every ordered", () -> db.select(ID).from(CUSTOMERS).orderBy(NAME).limit(3).fetch());
            said("count", () -> db.fetchCount(CUSTOMERS));
            said("delete", () -> db.deleteFrom(ORDERS).where(CUSTOMER.eq(2L)).execute());
            said("tables", Shop::tables);
            said("drop", () -> db.dropTable("orders").execute() + db.dropTable("customers").execute());
        }
        System.exit(0);
    }
}
