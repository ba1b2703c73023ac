//! The 22 queries of TPC-H over tables that are sharded by different keys answer as on one server. The data are made here, few enough to be
//! quick and so that most queries find rows.

use crate::support::{Client, Cluster, Plain, Proxy, Random, Setup, Table, flavors};

const SCHEME: &str = "[[scheme]]
name = 'by_part'
function = 'mod'
buckets = 2
ranges = [{ buckets = '0-0', shard = 'shard2' }, { buckets = '1-1', shard = 'shard1' }]";

const TABLES: [(&str, &str, &str); 6] = [
    (
        "supplier",
        "s_suppkey",
        "(s_suppkey INT PRIMARY KEY, s_name VARCHAR(25), s_address VARCHAR(40), s_nationkey INT, s_phone VARCHAR(15), s_acctbal DECIMAL(15,2), s_comment VARCHAR(101))",
    ),
    (
        "customer",
        "c_custkey",
        "(c_custkey INT PRIMARY KEY, c_name VARCHAR(25), c_address VARCHAR(40), c_nationkey INT, c_phone VARCHAR(15), c_acctbal DECIMAL(15,2), c_mktsegment CHAR(10), c_comment VARCHAR(117))",
    ),
    (
        "part",
        "p_partkey",
        "(p_partkey INT PRIMARY KEY, p_name VARCHAR(55), p_mfgr CHAR(25), p_brand CHAR(10), p_type VARCHAR(25), p_size INT, p_container CHAR(10), p_retailprice DECIMAL(15,2), p_comment VARCHAR(23))",
    ),
    (
        "partsupp",
        "ps_suppkey",
        "(ps_partkey INT, ps_suppkey INT, ps_availqty INT, ps_supplycost DECIMAL(15,2), ps_comment VARCHAR(199), PRIMARY KEY (ps_partkey, ps_suppkey))",
    ),
    (
        "orders",
        "o_orderkey",
        "(o_orderkey INT PRIMARY KEY, o_custkey INT, o_orderstatus CHAR(1), o_totalprice DECIMAL(15,2), o_orderdate DATE, o_orderpriority CHAR(15), o_clerk CHAR(15), o_shippriority INT, o_comment VARCHAR(79))",
    ),
    (
        "lineitem",
        "l_orderkey",
        "(l_orderkey INT, l_partkey INT, l_suppkey INT, l_linenumber INT, l_quantity DECIMAL(15,2), l_extendedprice DECIMAL(15,2), l_discount DECIMAL(15,2), l_tax DECIMAL(15,2), l_returnflag CHAR(1), l_linestatus CHAR(1), l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, l_shipinstruct CHAR(25), l_shipmode CHAR(10), l_comment VARCHAR(44), PRIMARY KEY (l_orderkey, l_linenumber))",
    ),
];

/// Ties are broken, so that the order is one.
const QUERIES: [&str; 22] = [
    "SELECT l_returnflag, l_linestatus, SUM(l_quantity) AS sum_qty, SUM(l_extendedprice) AS sum_base_price, SUM(l_extendedprice * (1 - l_discount)) AS sum_disc_price, SUM(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge, AVG(l_quantity) AS avg_qty, AVG(l_extendedprice) AS avg_price, AVG(l_discount) AS avg_disc, COUNT(*) AS count_order FROM lineitem WHERE l_shipdate <= DATE '1998-12-01' - INTERVAL '90' DAY GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus",
    "SELECT s_acctbal, s_name, n_name, p_partkey, p_mfgr, s_address, s_phone, s_comment FROM part, supplier, partsupp, nation, region WHERE p_partkey = ps_partkey AND s_suppkey = ps_suppkey AND p_size < 25 AND p_type LIKE '%BRASS' AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'EUROPE' AND ps_supplycost = (SELECT MIN(ps_supplycost) FROM partsupp, supplier, nation, region WHERE p_partkey = ps_partkey AND s_suppkey = ps_suppkey AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'EUROPE') ORDER BY s_acctbal DESC, n_name, s_name, p_partkey LIMIT 100",
    "SELECT l_orderkey, SUM(l_extendedprice * (1 - l_discount)) AS revenue, o_orderdate, o_shippriority FROM customer, orders, lineitem WHERE c_mktsegment = 'BUILDING' AND c_custkey = o_custkey AND l_orderkey = o_orderkey AND o_orderdate < DATE '1995-03-15' AND l_shipdate > DATE '1995-03-15' GROUP BY l_orderkey, o_orderdate, o_shippriority ORDER BY revenue DESC, o_orderdate, l_orderkey LIMIT 10",
    "SELECT o_orderpriority, COUNT(*) AS order_count FROM orders WHERE o_orderdate >= DATE '1993-07-01' AND o_orderdate < DATE '1993-07-01' + INTERVAL '12' MONTH AND EXISTS (SELECT * FROM lineitem WHERE l_orderkey = o_orderkey AND l_commitdate < l_receiptdate) GROUP BY o_orderpriority ORDER BY o_orderpriority",
    "SELECT n_name, SUM(l_extendedprice * (1 - l_discount)) AS revenue FROM customer, orders, lineitem, supplier, nation, region WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND l_suppkey = s_suppkey AND c_nationkey = s_nationkey AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'ASIA' AND o_orderdate >= DATE '1993-01-01' AND o_orderdate < DATE '1993-01-01' + INTERVAL '3' YEAR GROUP BY n_name ORDER BY revenue DESC, n_name",
    "SELECT SUM(l_extendedprice * l_discount) AS revenue FROM lineitem WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1994-01-01' + INTERVAL '1' YEAR AND l_discount BETWEEN 0.06 - 0.01 AND 0.06 + 0.01 AND l_quantity < 24",
    "SELECT supp_nation, cust_nation, l_year, SUM(volume) AS revenue FROM (SELECT n1.n_name AS supp_nation, n2.n_name AS cust_nation, EXTRACT(YEAR FROM l_shipdate) AS l_year, l_extendedprice * (1 - l_discount) AS volume FROM supplier, lineitem, orders, customer, nation n1, nation n2 WHERE s_suppkey = l_suppkey AND o_orderkey = l_orderkey AND c_custkey = o_custkey AND s_nationkey = n1.n_nationkey AND c_nationkey = n2.n_nationkey AND ((n1.n_name = 'N1' AND n2.n_name = 'N2') OR (n1.n_name = 'N2' AND n2.n_name = 'N1')) AND l_shipdate BETWEEN DATE '1992-01-01' AND DATE '1998-12-31') AS shipping GROUP BY supp_nation, cust_nation, l_year ORDER BY supp_nation, cust_nation, l_year",
    "SELECT o_year, SUM(CASE WHEN nation = 'N3' THEN volume ELSE 0 END) / SUM(volume) AS mkt_share FROM (SELECT EXTRACT(YEAR FROM o_orderdate) AS o_year, l_extendedprice * (1 - l_discount) AS volume, n2.n_name AS nation FROM part, supplier, lineitem, orders, customer, nation n1, nation n2, region WHERE p_partkey = l_partkey AND s_suppkey = l_suppkey AND l_orderkey = o_orderkey AND o_custkey = c_custkey AND c_nationkey = n1.n_nationkey AND n1.n_regionkey = r_regionkey AND r_name = 'AMERICA' AND s_nationkey = n2.n_nationkey AND o_orderdate BETWEEN DATE '1993-01-01' AND DATE '1996-12-31' AND p_type LIKE '%STEEL') AS all_nations GROUP BY o_year ORDER BY o_year",
    "SELECT nation, o_year, SUM(amount) AS sum_profit FROM (SELECT n_name AS nation, EXTRACT(YEAR FROM o_orderdate) AS o_year, l_extendedprice * (1 - l_discount) - ps_supplycost * l_quantity AS amount FROM part, supplier, lineitem, partsupp, orders, nation WHERE s_suppkey = l_suppkey AND ps_suppkey = l_suppkey AND ps_partkey = l_partkey AND p_partkey = l_partkey AND o_orderkey = l_orderkey AND s_nationkey = n_nationkey AND p_name LIKE '%green%') AS profit GROUP BY nation, o_year ORDER BY nation, o_year DESC",
    "SELECT c_custkey, c_name, SUM(l_extendedprice * (1 - l_discount)) AS revenue, c_acctbal, n_name, c_address, c_phone, c_comment FROM customer, orders, lineitem, nation WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND o_orderdate >= DATE '1993-10-01' AND o_orderdate < DATE '1993-10-01' + INTERVAL '9' MONTH AND l_returnflag = 'R' AND c_nationkey = n_nationkey GROUP BY c_custkey, c_name, c_acctbal, c_phone, n_name, c_address, c_comment ORDER BY revenue DESC, c_custkey LIMIT 20",
    "SELECT ps_partkey, SUM(ps_supplycost * ps_availqty) AS value FROM partsupp, supplier, nation WHERE ps_suppkey = s_suppkey AND s_nationkey = n_nationkey AND n_name = 'N1' GROUP BY ps_partkey HAVING SUM(ps_supplycost * ps_availqty) > (SELECT SUM(ps_supplycost * ps_availqty) * 0.01 FROM partsupp, supplier, nation WHERE ps_suppkey = s_suppkey AND s_nationkey = n_nationkey AND n_name = 'N1') ORDER BY value DESC, ps_partkey",
    "SELECT l_shipmode, SUM(CASE WHEN o_orderpriority = '1-URGENT' OR o_orderpriority = '2-HIGH' THEN 1 ELSE 0 END) AS high_line_count, SUM(CASE WHEN o_orderpriority <> '1-URGENT' AND o_orderpriority <> '2-HIGH' THEN 1 ELSE 0 END) AS low_line_count FROM orders, lineitem WHERE o_orderkey = l_orderkey AND l_shipmode IN ('MAIL', 'SHIP') AND l_commitdate < l_receiptdate AND l_shipdate < l_commitdate AND l_receiptdate >= DATE '1994-01-01' AND l_receiptdate < DATE '1994-01-01' + INTERVAL '2' YEAR GROUP BY l_shipmode ORDER BY l_shipmode",
    "SELECT c_count, COUNT(*) AS custdist FROM (SELECT c_custkey, COUNT(o_orderkey) AS c_count FROM customer LEFT OUTER JOIN orders ON c_custkey = o_custkey AND o_comment NOT LIKE '%special%requests%' GROUP BY c_custkey) AS c_orders GROUP BY c_count ORDER BY custdist DESC, c_count DESC",
    "SELECT 100.00 * SUM(CASE WHEN p_type LIKE 'PROMO%' THEN l_extendedprice * (1 - l_discount) ELSE 0 END) / SUM(l_extendedprice * (1 - l_discount)) AS promo_revenue FROM lineitem, part WHERE l_partkey = p_partkey AND l_shipdate >= DATE '1995-01-01' AND l_shipdate < DATE '1995-01-01' + INTERVAL '12' MONTH",
    "WITH revenue (supplier_no, total_revenue) AS (SELECT l_suppkey, SUM(l_extendedprice * (1 - l_discount)) FROM lineitem WHERE l_shipdate >= DATE '1996-01-01' AND l_shipdate < DATE '1996-01-01' + INTERVAL '9' MONTH GROUP BY l_suppkey) SELECT s_suppkey, s_name, s_address, s_phone, total_revenue FROM supplier, revenue WHERE s_suppkey = supplier_no AND total_revenue = (SELECT MAX(total) FROM (SELECT SUM(l_extendedprice * (1 - l_discount)) AS total FROM lineitem WHERE l_shipdate >= DATE '1996-01-01' AND l_shipdate < DATE '1996-01-01' + INTERVAL '9' MONTH GROUP BY l_suppkey) AS each_total) ORDER BY s_suppkey",
    "SELECT p_brand, p_type, p_size, COUNT(DISTINCT ps_suppkey) AS supplier_cnt FROM partsupp, part WHERE p_partkey = ps_partkey AND p_brand <> 'Brand#4' AND p_type NOT LIKE 'MEDIUM%' AND p_size IN (49, 14, 23, 45, 19, 3, 36, 9) AND ps_suppkey NOT IN (SELECT s_suppkey FROM supplier WHERE s_comment LIKE '%Customer%Complaints%') GROUP BY p_brand, p_type, p_size ORDER BY supplier_cnt DESC, p_brand, p_type, p_size",
    "SELECT SUM(l_extendedprice) / 7.0 AS avg_yearly FROM lineitem, part WHERE p_partkey = l_partkey AND p_brand = 'Brand#2' AND p_container = 'MED BOX' AND l_quantity < (SELECT 0.9 * AVG(l_quantity) FROM lineitem WHERE l_partkey = p_partkey)",
    "SELECT c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice, SUM(l_quantity) FROM customer, orders, lineitem WHERE o_orderkey IN (SELECT l_orderkey FROM lineitem GROUP BY l_orderkey HAVING SUM(l_quantity) > 100) AND c_custkey = o_custkey AND o_orderkey = l_orderkey GROUP BY c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice ORDER BY o_totalprice DESC, o_orderdate, o_orderkey LIMIT 100",
    "SELECT SUM(l_extendedprice * (1 - l_discount)) AS revenue FROM lineitem, part WHERE (p_partkey = l_partkey AND p_brand = 'Brand#1' AND p_container IN ('SM CASE', 'MED BOX') AND l_quantity >= 1 AND l_quantity <= 31 AND p_size BETWEEN 1 AND 25 AND l_shipmode IN ('AIR', 'MAIL')) OR (p_partkey = l_partkey AND p_brand = 'Brand#2' AND p_container IN ('MED BOX', 'LG CASE') AND l_quantity >= 10 AND l_quantity <= 40 AND p_size BETWEEN 1 AND 40 AND l_shipmode IN ('AIR', 'SHIP'))",
    "SELECT s_name, s_address FROM supplier, nation WHERE s_suppkey IN (SELECT ps_suppkey FROM partsupp WHERE ps_partkey IN (SELECT p_partkey FROM part WHERE p_name LIKE 'green%') AND ps_availqty > (SELECT 0.5 * SUM(l_quantity) FROM lineitem WHERE l_partkey = ps_partkey AND l_suppkey = ps_suppkey AND l_shipdate >= DATE '1993-01-01' AND l_shipdate < DATE '1993-01-01' + INTERVAL '5' YEAR)) AND s_nationkey = n_nationkey AND n_name IN ('N1', 'N2', 'N3', 'N4', 'N5', 'N6') ORDER BY s_name",
    "SELECT s_name, COUNT(*) AS numwait FROM supplier, lineitem l1, orders, nation WHERE s_suppkey = l1.l_suppkey AND o_orderkey = l1.l_orderkey AND o_orderstatus = 'F' AND l1.l_receiptdate > l1.l_commitdate AND EXISTS (SELECT * FROM lineitem l2 WHERE l2.l_orderkey = l1.l_orderkey AND l2.l_suppkey <> l1.l_suppkey) AND NOT EXISTS (SELECT * FROM lineitem l3 WHERE l3.l_orderkey = l1.l_orderkey AND l3.l_suppkey <> l1.l_suppkey AND l3.l_receiptdate > l3.l_commitdate) AND s_nationkey = n_nationkey AND n_regionkey < 3 GROUP BY s_name ORDER BY numwait DESC, s_name LIMIT 100",
    "SELECT cntrycode, COUNT(*) AS numcust, SUM(c_acctbal) AS totacctbal FROM (SELECT SUBSTRING(c_phone FROM 1 FOR 2) AS cntrycode, c_acctbal FROM customer WHERE SUBSTRING(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29', '30', '18', '17') AND c_acctbal > (SELECT AVG(c_acctbal) FROM customer WHERE c_acctbal > 0.00 AND SUBSTRING(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29', '30', '18', '17')) AND NOT EXISTS (SELECT * FROM orders WHERE o_custkey = c_custkey)) AS custsale GROUP BY cntrycode ORDER BY cntrycode",
];

fn rows_of(table: &str, random: &mut Random) -> Vec<String> {
    let mut number = |below: usize| random.below(below);
    let date = |day: usize| format!("DATE '1992-01-01' + INTERVAL {day} DAY");
    let word = |at: usize, words: &[&str]| words[at % words.len()].to_owned();
    match table {
        "supplier" => (0..20)
            .map(|key| {
                let complaint = if key == 3 { "Customer said Complaints" } else { "none" };
                format!("({key}, 'S{key}', 'street {key}', {}, '1{key}', {}.25, '{complaint}')", number(10), number(900))
            })
            .collect(),
        "customer" => (0..60)
            .map(|key| {
                let segment = word(number(2), &["BUILDING", "MACHINERY"]);
                let phone = word(number(4), &["13-5", "31-6", "23-7", "99-8"]);
                format!("({key}, 'C{key}', 'road {key}', {}, '{phone}', {}.5, '{segment}', 'c')", number(10), number(800))
            })
            .collect(),
        "part" => (0..40)
            .map(|key| {
                let name = word(number(3), &["green x", "dark green", "red"]);
                let kind = word(number(4), &["PROMO BRASS", "SMALL STEEL", "MEDIUM BRASS", "LARGE STEEL"]);
                let container = word(number(3), &["SM CASE", "MED BOX", "LG CASE"]);
                let size = word(number(5), &["49", "14", "3", "9", "23"]);
                format!("({key}, '{name}', 'M', 'Brand#{}', '{kind}', {size}, '{container}', 10.5, 'p')", number(4) + 1)
            })
            .collect(),
        "partsupp" => (0..40)
            .flat_map(|part| [part % 20, (part + 7) % 20, (part + 11) % 20].map(|supplier| (part, supplier)))
            .map(|(part, supplier)| format!("({part}, {supplier}, {}, {}.75, 'x')", number(200), number(90)))
            .collect(),
        "orders" => (0..200)
            .map(|key| {
                let priority = word(number(3), &["1-URGENT", "2-HIGH", "3-MEDIUM"]);
                let comment = word(number(5), &["a special b requests", "plain"]);
                let status = word(number(2), &["F", "O"]);
                let day = date(number(2400));
                format!("({key}, {}, '{status}', {}.5, {day}, '{priority}', 'clerk', 0, '{comment}')", number(45), number(9000))
            })
            .collect(),
        _ => (0..200)
            .flat_map(|order| (1..=4).map(move |line| (order, line)))
            .map(|(order, line)| {
                let part = number(40);
                let supplier = [part % 20, (part + 7) % 20, (part + 11) % 20][number(3)];
                let (flag, mode) = (word(number(3), &["R", "A", "N"]), word(number(3), &["MAIL", "SHIP", "AIR"]));
                let day = number(2500);
                let (commit, receipt) = (date(day + number(40)), date(day + number(60)));
                let (status, day) = (word(number(2), &["O", "F"]), date(day));
                format!("({order}, {part}, {supplier}, {line}, {}, {}.25, 0.0{}, 0.0{}, '{flag}', '{status}', {day}, {commit}, {receipt}, 'i', '{mode}', 'l')", number(50) + 1, number(3000) + 100, number(9), number(9))
            })
            .collect(),
    }
}

#[tokio::test]
async fn the_queries_of_tpc_h_answer_as_on_one_server() {
    let mut random = Random::new();
    for program in flavors() {
        let cluster = Cluster::shared(&program).await;
        let sharded = TABLES.map(|(name, key, columns)| match name {
            "part" => Table::of_scheme("by_part", name, key, columns),
            _ => Table::sharded(name, key, columns),
        });
        let nation = Table::reference(
            "nation",
            "(n_nationkey INT PRIMARY KEY, n_name CHAR(25), n_regionkey INT, n_comment VARCHAR(152))",
        );
        let region = Table::reference(
            "region",
            "(r_regionkey INT PRIMARY KEY, r_name CHAR(25), r_comment VARCHAR(152))",
        );
        let database = cluster.database(sharded.into_iter().chain([nation, region])).await;
        let server = Plain::shared(&program).await;
        server.create(&database).await;
        let running = Proxy::start(&Setup::new(cluster).scheme(SCHEME).database(&database)).await;
        let mut plain = server.client(&database).await;
        let mut proxy = running.client(&database).await;
        let mut texts: Vec<String> = TABLES
            .iter()
            .map(|(name, ..)| format!("INSERT INTO {name} VALUES {}", rows_of(name, &mut random).join(", ")))
            .collect();
        let nations: Vec<String> =
            (0..10).map(|key| format!("({key}, 'N{key}', {}, 'n')", key % 4)).collect();
        texts.push(format!("INSERT INTO nation VALUES {}", nations.join(", ")));
        texts.push("INSERT INTO region VALUES (0, 'EUROPE', ''), (1, 'ASIA', ''), (2, 'AMERICA', ''), (3, 'AFRICA', '')".to_owned());
        for text in &texts {
            plain.ok(text).await;
            proxy.ok(text).await;
        }
        let mut found = 0;
        for (at, sql) in QUERIES.iter().enumerate() {
            let wanted = answer(&mut plain, sql).await;
            found += usize::from(!wanted.is_empty());
            assert_eq!(answer(&mut proxy, sql).await, wanted, "query {}", at + 1);
        }
        assert!(found >= 18, "only {found} queries found rows");
    }
}

async fn answer(client: &mut Client, sql: &str) -> Vec<String> {
    client.rows(sql).await
}
