//! What the planner knows of functions by name: which aggregate, which are MySQL's own and compute from their arguments
//! alone, which give another value on every server; what is none of these is stored or loaded by the users.

/// Functions that compute one value from many rows.
#[rustfmt::skip]
const AGGREGATES: &[&str] = &[
    "AVG", "BIT_AND", "BIT_OR", "BIT_XOR", "COUNT", "GROUP_CONCAT", "JSON_ARRAYAGG", "JSON_OBJECTAGG", "MAX",
    "MEDIAN", "MIN", "PERCENTILE_CONT", "PERCENTILE_DISC", "STD", "STDDEV", "STDDEV_POP", "STDDEV_SAMP",
    "ST_COLLECT", "SUM", "VARIANCE", "VAR_POP", "VAR_SAMP",
];

/// Functions whose value depends on the server, chance or the order of rows: a write to several copies with one of them
/// would make the copies differ. The clock is not among them: a write on several shards has one moment for all.
#[rustfmt::skip]
const VARYING: &[&str] = &[
    "ANY_VALUE", "BENCHMARK", "CONNECTION_ID", "CURRENT_ROLE", "CURRENT_USER", "FOUND_ROWS", "GET_LOCK",
    "GROUP_CONCAT", "IS_FREE_LOCK", "IS_USED_LOCK", "JSON_ARRAYAGG", "LASTVAL", "LAST_INSERT_ID",
    "LOAD_FILE", "MASTER_POS_WAIT", "NEXTVAL", "RAND", "RANDOM_BYTES", "RELEASE_ALL_LOCKS",
    "RELEASE_LOCK", "ROW_COUNT", "SESSION_USER", "SETVAL", "SLEEP", "SYSDATE", "SYSTEM_USER",
    "SYS_GUID", "USER", "UUID", "UUID_SHORT", "UUID_V4", "UUID_V7", "VERSION",
];

/// Functions that several shards may compute side by side: their value depends on arguments, clock or chance, not on
/// rows of other tables or on what the session did before.
#[rustfmt::skip]
const PURE: &[&str] = &[
    "ABS", "ACOS", "ADDDATE", "ADDTIME", "AES_DECRYPT", "AES_ENCRYPT", "ANY_VALUE", "ASCII", "ASIN", "ATAN",
    "ATAN2", "BIN", "BIN_TO_UUID", "BIT_COUNT", "BIT_LENGTH", "CAST", "CEIL", "CEILING", "CHAR",
    "CHARACTER_LENGTH", "CHARSET", "CHAR_LENGTH", "CHR", "COALESCE", "COERCIBILITY", "COLLATION", "COMPRESS",
    "CONCAT", "CONCAT_WS", "CONV", "CONVERT", "CONVERT_TZ", "COS", "COT", "CRC32", "CRC32C", "CURDATE",
    "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "CURTIME", "DATABASE", "DATE", "DATEDIFF",
    "DATE_ADD", "DATE_FORMAT", "DATE_SUB", "DAY", "DAYNAME", "DAYOFMONTH", "DAYOFWEEK", "DAYOFYEAR",
    "DEFAULT", "DEGREES", "ELT", "EXISTS", "EXP", "EXPORT_SET", "EXTRACT", "EXTRACTVALUE", "FIELD",
    "FIND_IN_SET", "FLOOR", "FORMAT", "FORMAT_BYTES", "FROM_BASE64", "FROM_DAYS", "FROM_UNIXTIME",
    "GEOMETRYCOLLECTION", "GET_FORMAT", "GREATEST", "HEX", "HOUR", "IF", "IFNULL", "IN", "INET6_ATON",
    "INET6_NTOA", "INET_ATON", "INET_NTOA", "INSERT", "INSTR", "INTERVAL", "ISNULL", "IS_IPV4",
    "IS_IPV4_COMPAT", "IS_IPV4_MAPPED", "IS_IPV6", "IS_UUID", "JSON_ARRAY", "JSON_ARRAY_APPEND",
    "JSON_ARRAY_INSERT", "JSON_COMPACT", "JSON_CONTAINS", "JSON_CONTAINS_PATH", "JSON_DEPTH", "JSON_DETAILED",
    "JSON_EQUALS", "JSON_EXISTS", "JSON_EXTRACT", "JSON_INSERT", "JSON_KEYS", "JSON_LENGTH", "JSON_LOOSE",
    "JSON_MERGE", "JSON_MERGE_PATCH", "JSON_MERGE_PRESERVE", "JSON_NORMALIZE", "JSON_OBJECT", "JSON_OVERLAPS",
    "JSON_PRETTY", "JSON_QUERY", "JSON_QUOTE", "JSON_REMOVE", "JSON_REPLACE", "JSON_SCHEMA_VALID",
    "JSON_SEARCH", "JSON_SET", "JSON_STORAGE_SIZE", "JSON_TYPE", "JSON_UNQUOTE", "JSON_VALID", "JSON_VALUE",
    "LAST_DAY", "LCASE", "LEAST", "LEFT", "LENGTH", "LENGTHB", "LINESTRING", "LN", "LOCALTIME",
    "LOCALTIMESTAMP", "LOCATE", "LOG", "LOG10", "LOG2", "LOWER", "LPAD", "LTRIM", "MAKEDATE", "MAKETIME",
    "MAKE_SET", "MATCH", "MD5", "MICROSECOND", "MID", "MINUTE", "MOD", "MONTH", "MONTHNAME",
    "NATURAL_SORT_KEY", "NOW", "NULLIF", "NVL", "NVL2", "OCT", "OCTET_LENGTH", "ORD", "PERIOD_ADD",
    "PERIOD_DIFF", "PI", "POINT", "POLYGON", "POSITION", "POW", "POWER", "QUARTER", "QUOTE", "RADIANS",
    "RAND", "REGEXP_INSTR", "REGEXP_LIKE", "REGEXP_REPLACE", "REGEXP_SUBSTR", "REPEAT", "REPLACE", "REVERSE",
    "RIGHT", "ROUND", "ROW", "RPAD", "RTRIM", "SCHEMA", "SECOND", "SEC_TO_TIME", "SHA", "SHA1", "SHA2",
    "SIGN", "SIN", "SOUNDEX", "SPACE", "SQRT", "STRCMP", "STR_TO_DATE", "ST_AREA", "ST_ASBINARY",
    "ST_ASGEOJSON", "ST_ASTEXT", "ST_ASWKB", "ST_ASWKT", "ST_BUFFER", "ST_CENTROID", "ST_CONTAINS",
    "ST_CROSSES", "ST_DISTANCE", "ST_DISTANCE_SPHERE", "ST_EQUALS", "ST_GEOHASH", "ST_GEOMFROMGEOJSON",
    "ST_GEOMFROMTEXT", "ST_GEOMFROMWKB", "ST_INTERSECTS", "ST_ISVALID", "ST_LATITUDE", "ST_LENGTH",
    "ST_LONGITUDE", "ST_OVERLAPS", "ST_POINTFROMTEXT", "ST_SRID", "ST_TOUCHES", "ST_WITHIN", "ST_X", "ST_Y",
    "SUBDATE", "SUBSTR", "SUBSTRING", "SUBSTRING_INDEX", "SUBTIME", "SYSDATE", "SYS_GUID", "TAN", "TIME",
    "TIMEDIFF", "TIMESTAMP", "TIMESTAMPADD", "TIMESTAMPDIFF", "TIME_FORMAT", "TIME_TO_SEC", "TO_BASE64",
    "TO_CHAR", "TO_DAYS", "TO_SECONDS", "TRIM", "TRUNCATE", "UCASE", "UNCOMPRESS", "UNCOMPRESSED_LENGTH",
    "UNHEX", "UNIX_TIMESTAMP", "UPDATEXML", "UPPER", "UTC_DATE", "UTC_TIME", "UTC_TIMESTAMP", "UUID",
    "UUID_TO_BIN", "UUID_V4", "UUID_V7", "VALUE", "VALUES", "WEEK", "WEEKDAY", "WEEKOFYEAR", "WEIGHT_STRING",
    "YEAR", "YEARWEEK",
];

/// The server's other functions: they ask it for something of its own, order rows, or are about geometry and the like.
/// Known only so that they are not taken for stored functions.
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    "ADD_MONTHS", "ASYMMETRIC_DECRYPT", "ASYMMETRIC_DERIVE", "ASYMMETRIC_ENCRYPT", "ASYMMETRIC_SIGN",
    "ASYMMETRIC_VERIFY", "BINLOG_GTID_POS", "COLUMN_ADD", "COLUMN_CHECK", "COLUMN_CREATE", "COLUMN_DELETE",
    "COLUMN_EXISTS", "COLUMN_GET", "COLUMN_JSON", "COLUMN_LIST", "CONCAT_OPERATOR_ORACLE",
    "CREATE_ASYMMETRIC_PRIV_KEY", "CREATE_ASYMMETRIC_PUB_KEY", "CREATE_DH_PARAMETERS", "CREATE_DIGEST",
    "CUME_DIST", "DECODE", "DECODE_HISTOGRAM", "DECODE_ORACLE", "DENSE_RANK", "DES_DECRYPT", "DES_ENCRYPT",
    "ENCODE", "ENCRYPT", "ETAG", "FIRST_VALUE", "FORMAT_PICO_TIME", "FROM_VECTOR", "GEOMCOLLECTION", "GROUPING",
    "GTID_SUBSET", "GTID_SUBTRACT", "ICU_VERSION", "JSON_DUALITY_OBJECT", "JSON_SCHEMA_VALIDATION_REPORT",
    "JSON_STORAGE_FREE", "JSON_TABLE", "KDF", "LAG", "LAST_VALUE", "LEAD", "LPAD_ORACLE", "LTRIM_ORACLE",
    "MASTER_GTID_WAIT", "MBRCONTAINS", "MBRCOVEREDBY", "MBRCOVERS", "MBRDISJOINT", "MBREQUAL", "MBREQUALS",
    "MBRINTERSECTS", "MBROVERLAPS", "MBRTOUCHES", "MBRWITHIN", "MULTILINESTRING", "MULTIPOINT", "MULTIPOLYGON",
    "NAME_CONST", "NTH_VALUE", "NTILE", "OLD_PASSWORD", "PASSWORD", "PERCENT_RANK", "PS_CURRENT_THREAD_ID",
    "PS_THREAD_ID", "RANK", "REPLACE_ORACLE", "ROLES_GRAPHML", "ROW_NUMBER", "RPAD_ORACLE", "RTRIM_ORACLE",
    "SFORMAT", "SOURCE_POS_WAIT", "STATEMENT_DIGEST", "STATEMENT_DIGEST_TEXT", "STRING_TO_VECTOR",
    "ST_BOUNDARY", "ST_BUFFER_STRATEGY", "ST_CONVEXHULL", "ST_DIFFERENCE", "ST_DIMENSION", "ST_DISJOINT",
    "ST_ENDPOINT", "ST_ENVELOPE", "ST_EXTERIORRING", "ST_FRECHETDISTANCE", "ST_GEOMCOLLFROMTEXT",
    "ST_GEOMCOLLFROMTXT", "ST_GEOMCOLLFROMWKB", "ST_GEOMETRYCOLLECTIONFROMTEXT", "ST_GEOMETRYCOLLECTIONFROMWKB",
    "ST_GEOMETRYFROMTEXT", "ST_GEOMETRYFROMWKB", "ST_GEOMETRYN", "ST_GEOMETRYTYPE", "ST_HAUSDORFFDISTANCE",
    "ST_INTERIORRINGN", "ST_INTERSECTION", "ST_ISCLOSED", "ST_ISEMPTY", "ST_ISRING", "ST_ISSIMPLE",
    "ST_LATFROMGEOHASH", "ST_LINEFROMTEXT", "ST_LINEFROMWKB", "ST_LINEINTERPOLATEPOINT",
    "ST_LINEINTERPOLATEPOINTS", "ST_LINESTRINGFROMTEXT", "ST_LINESTRINGFROMWKB", "ST_LONGFROMGEOHASH",
    "ST_MAKEENVELOPE", "ST_MLINEFROMTEXT", "ST_MLINEFROMWKB", "ST_MPOINTFROMTEXT", "ST_MPOINTFROMWKB",
    "ST_MPOLYFROMTEXT", "ST_MPOLYFROMWKB", "ST_MULTILINESTRINGFROMTEXT", "ST_MULTILINESTRINGFROMWKB",
    "ST_MULTIPOINTFROMTEXT", "ST_MULTIPOINTFROMWKB", "ST_MULTIPOLYGONFROMTEXT", "ST_MULTIPOLYGONFROMWKB",
    "ST_NUMGEOMETRIES", "ST_NUMINTERIORRING", "ST_NUMINTERIORRINGS", "ST_NUMPOINTS", "ST_POINTATDISTANCE",
    "ST_POINTFROMGEOHASH", "ST_POINTFROMWKB", "ST_POINTN", "ST_POINTONSURFACE", "ST_POLYFROMTEXT",
    "ST_POLYFROMWKB", "ST_POLYGONFROMTEXT", "ST_POLYGONFROMWKB", "ST_RELATE", "ST_SIMPLIFY", "ST_STARTPOINT",
    "ST_SWAPXY", "ST_SYMDIFFERENCE", "ST_TRANSFORM", "ST_UNION", "ST_VALIDATE", "ST_WKBTOSQL", "ST_WKTTOSQL",
    "SUBSTR_ORACLE", "TO_VECTOR", "TRIM_ORACLE", "VALIDATE_PASSWORD_STRENGTH", "VECTOR_DIM", "VECTOR_TO_STRING",
    "VEC_DISTANCE", "VEC_DISTANCE_COSINE", "VEC_DISTANCE_EUCLIDEAN", "VEC_FROMTEXT", "VEC_TOTEXT",
    "WAIT_FOR_EXECUTED_GTID_SET", "WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS", "WSREP_LAST_SEEN_GTID",
    "WSREP_LAST_WRITTEN_GTID", "WSREP_SYNC_WAIT_UPTO_GTID",
];

/// The name of an aggregate function as messages spell it.
pub(super) fn aggregate(name: &str) -> Option<&'static str> {
    let at = AGGREGATES.binary_search_by(|known| compare(known, name)).ok()?;
    AGGREGATES.get(at).copied()
}

/// Must not be part of a write to several copies.
pub(super) fn is_varying(name: &str) -> bool {
    holds(VARYING, name)
}

/// Whether an expression that fills a column gives each copy of a row a value of its own.
pub(super) fn fills_varying(expression: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || matches!(character, '_' | '$');
    expression.split(|character| !is_part(character)).filter(|word| !word.is_empty()).any(|word| {
        let called = expression.split(word).skip(1).any(|rest| rest.trim_start_matches('`').starts_with('('));
        is_varying(word) || called && !is_native(word)
    })
}

/// May be computed by several shards for one statement.
pub(super) fn is_pure(name: &str) -> bool {
    holds(PURE, name)
}

/// A function of the server's own, whatever it does. Others are stored in a database or loaded from a library.
pub(super) fn is_native(name: &str) -> bool {
    [AGGREGATES, VARYING, PURE, OTHERS].iter().any(|names| holds(names, name))
}

fn holds(names: &[&str], name: &str) -> bool {
    names.binary_search_by(|known| compare(known, name)).is_ok()
}

fn compare(known: &str, name: &str) -> std::cmp::Ordering {
    known.bytes().cmp(name.bytes().map(|byte| byte.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_is_in_order_so_that_it_can_be_searched() {
        for list in [AGGREGATES, VARYING, PURE, OTHERS] {
            for pair in list.windows(2) {
                assert!(compare(pair[0], pair[1]).is_lt(), "{} before {}", pair[0], pair[1]);
            }
        }
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(aggregate("group_Concat"), Some("GROUP_CONCAT"));
        assert!(is_varying("uuid"));
        assert!(is_pure("coalesce"));
        assert!(!is_pure("my_own_function"));
        assert!(is_native("st_simplify") && is_native("sleep") && is_native("row_number"));
        assert!(!is_native("my_own_function"));
        assert!(
            fills_varying("uuid()") && fills_varying("(1 + rand())") && fills_varying("nextval(`shop`.`s`)")
        );
        assert!(!fills_varying("current_timestamp(6)") && !fills_varying("concat('a',json_array())"));
        assert_eq!(aggregate("any_value"), None);
    }
}
