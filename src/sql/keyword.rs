//! The words that reading without a grammar looks at, found by first letter and length. A word that is not here is
//! `Word::Other`; whether a word acts as a keyword or as a name is the reader's business.

macro_rules! words {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// A word by its spelling, in any case.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub(crate) enum Word {
            #[default]
            Other,
            $($name),*
        }

        const WORDS: &[(&str, Word)] = &[$(($text, Word::$name)),*];
    };
}

words! {
    Algorithm = "ALGORITHM", All = "ALL", Alter = "ALTER", Analyze = "ANALYZE", And = "AND", As = "AS", Asc = "ASC",
    Backup = "BACKUP", Begin = "BEGIN", Benchmark = "BENCHMARK", Between = "BETWEEN", Binary = "BINARY",
    Binlog = "BINLOG", By = "BY",
    Cache = "CACHE", Call = "CALL", Cast = "CAST", Chain = "CHAIN", Change = "CHANGE", Char = "CHAR",
    Character = "CHARACTER", Charset = "CHARSET", Check = "CHECK", Checksum = "CHECKSUM", Clone = "CLONE",
    Collate = "COLLATE", Columns = "COLUMNS", Column = "COLUMN", Commit = "COMMIT", Committed = "COMMITTED", Connection = "CONNECTION",
    ConnectionId = "CONNECTION_ID", Consistent = "CONSISTENT", Create = "CREATE", Cross = "CROSS",
    Data = "DATA", Database = "DATABASE", Databases = "DATABASES", DayHour = "DAY_HOUR",
    DayMicrosecond = "DAY_MICROSECOND", DayMinute = "DAY_MINUTE", DaySecond = "DAY_SECOND",
    Deallocate = "DEALLOCATE", Default = "DEFAULT", Definer = "DEFINER", Delayed = "DELAYED", Delete = "DELETE",
    Desc = "DESC", Describe = "DESCRIBE", Diagnostics = "DIAGNOSTICS", Distinct = "DISTINCT",
    DistinctRow = "DISTINCTROW", Div = "DIV", Do = "DO", Drop = "DROP", Dual = "DUAL", Dumpfile = "DUMPFILE",
    ErrorCount = "ERROR_COUNT", Errors = "ERRORS", Escape = "ESCAPE", Event = "EVENT", Except = "EXCEPT", Exchange = "EXCHANGE",
    Execute = "EXECUTE", Exists = "EXISTS", Explain = "EXPLAIN", Extended = "EXTENDED",
    False = "FALSE", Fetch = "FETCH", Fields = "FIELDS", First = "FIRST", Flush = "FLUSH", For = "FOR",
    Format = "FORMAT", FoundRows = "FOUND_ROWS", From = "FROM", Full = "FULL", Fulltext = "FULLTEXT",
    Function = "FUNCTION",
    Get = "GET", GetLock = "GET_LOCK", Global = "GLOBAL", Grant = "GRANT", Group = "GROUP",
    Handler = "HANDLER", Hard = "HARD", Having = "HAVING", HighPriority = "HIGH_PRIORITY",
    HourMicrosecond = "HOUR_MICROSECOND", HourMinute = "HOUR_MINUTE", HourSecond = "HOUR_SECOND",
    Identity = "IDENTITY", If = "IF", Ignore = "IGNORE", Import = "IMPORT", In = "IN", Index = "INDEX",
    Indexes = "INDEXES", Infile = "INFILE", Inner = "INNER", Insert = "INSERT", Install = "INSTALL",
    Instance = "INSTANCE", Int = "INT", Integer = "INTEGER", Intersect = "INTERSECT", Interval = "INTERVAL",
    Into = "INTO", Is = "IS", IsFreeLock = "IS_FREE_LOCK", Isolation = "ISOLATION", IsUsedLock = "IS_USED_LOCK",
    Join = "JOIN",
    Key = "KEY", Keys = "KEYS", Kill = "KILL",
    LastInsertId = "LAST_INSERT_ID", LastVal = "LASTVAL", Left = "LEFT", Level = "LEVEL", Like = "LIKE",
    Limit = "LIMIT", Load = "LOAD", LoadFile = "LOAD_FILE", Local = "LOCAL", Lock = "LOCK", Logfile = "LOGFILE",
    LowPriority = "LOW_PRIORITY",
    MasterGtidWait = "MASTER_GTID_WAIT", MasterPosWait = "MASTER_POS_WAIT", Minus = "MINUS",
    MinuteMicrosecond = "MINUTE_MICROSECOND", MinuteSecond = "MINUTE_SECOND", Mod = "MOD", Mode = "MODE",
    Names = "NAMES", Natural = "NATURAL", Next = "NEXT", NextVal = "NEXTVAL", No = "NO",
    NoWriteToBinlog = "NO_WRITE_TO_BINLOG", Not = "NOT", Nowait = "NOWAIT", Null = "NULL",
    Of = "OF", Offset = "OFFSET", On = "ON", Online = "ONLINE", Only = "ONLY", Optimize = "OPTIMIZE", Or = "OR",
    Order = "ORDER", Outfile = "OUTFILE",
    Package = "PACKAGE", Partition = "PARTITION", Password = "PASSWORD", Persist = "PERSIST",
    PersistOnly = "PERSIST_ONLY", Prepare = "PREPARE", Procedure = "PROCEDURE", Processlist = "PROCESSLIST",
    PseudoThreadId = "PSEUDO_THREAD_ID", Purge = "PURGE",
    Query = "QUERY", Quick = "QUICK",
    Read = "READ", References = "REFERENCES", Regexp = "REGEXP", Release = "RELEASE", ReleaseAllLocks = "RELEASE_ALL_LOCKS",
    ReleaseLock = "RELEASE_LOCK", Rename = "RENAME", Repair = "REPAIR", Repeatable = "REPEATABLE",
    Replace = "REPLACE", Reset = "RESET", Resource = "RESOURCE", Restart = "RESTART", Returning = "RETURNING",
    Revoke = "REVOKE", Right = "RIGHT", Rlike = "RLIKE", Role = "ROLE", Rollback = "ROLLBACK", Row = "ROW",
    RowCount = "ROW_COUNT",
    Savepoint = "SAVEPOINT", Schema = "SCHEMA", Schemas = "SCHEMAS", SecondMicrosecond = "SECOND_MICROSECOND",
    Select = "SELECT", Sequence = "SEQUENCE", Serializable = "SERIALIZABLE", Server = "SERVER",
    Session = "SESSION", SessionUser = "SESSION_USER", Set = "SET", SetVal = "SETVAL", Share = "SHARE", Shard = "_SHARD", Shardway = "SHARDWAY",
    Show = "SHOW", Shutdown = "SHUTDOWN", Signed = "SIGNED", Sleep = "SLEEP", Snapshot = "SNAPSHOT", Soft = "SOFT",
    SystemUser = "SYSTEM_USER",
    Soname = "SONAME", Spatial = "SPATIAL", SqlBigResult = "SQL_BIG_RESULT", SqlBufferResult = "SQL_BUFFER_RESULT",
    SqlCache = "SQL_CACHE", SqlCalcFoundRows = "SQL_CALC_FOUND_ROWS", SqlNoCache = "SQL_NO_CACHE",
    SqlSmallResult = "SQL_SMALL_RESULT", Start = "START", Statement = "STATEMENT", Status = "STATUS",
    Stop = "STOP", StraightJoin = "STRAIGHT_JOIN",
    Table = "TABLE", Tables = "TABLES", Tablespace = "TABLESPACE", Temporary = "TEMPORARY", To = "TO",
    Transaction = "TRANSACTION", Trigger = "TRIGGER", Triggers = "TRIGGERS", True = "TRUE", Truncate = "TRUNCATE",
    Uncommitted = "UNCOMMITTED", Undo = "UNDO", Uninstall = "UNINSTALL", Union = "UNION", Unique = "UNIQUE",
    Unlock = "UNLOCK", Unsigned = "UNSIGNED", Update = "UPDATE", Use = "USE", User = "USER", Using = "USING",
    UuidShort = "UUID_SHORT",
    Value = "VALUE", Values = "VALUES", View = "VIEW",
    Wait = "WAIT", WaitForGtid = "WAIT_FOR_EXECUTED_GTID_SET", WarningCount = "WARNING_COUNT",
    Warnings = "WARNINGS", Where = "WHERE", Window = "WINDOW", With = "WITH", Work = "WORK", Write = "WRITE",
    Xa = "XA", Xor = "XOR",
    YearMonth = "YEAR_MONTH",
}

/// Longer names are no words.
const LENGTH_MAX: usize = 31;

/// One bucket for each first byte (a letter or `_`) and length.
const BUCKETS: usize = 33 * (LENGTH_MAX + 1);

/// The bucket of a word that begins with `first`: letters and `_` with 0x20 set, less 0x5f, are 2 to 32.
const fn bucket(first: u8, length: usize) -> usize {
    ((first | 0x20) - 0x5f) as usize * (LENGTH_MAX + 1) + length
}

/// Letters in lower case; `_` becomes a byte that no name has, other bytes of names stay what they are.
const FOLD: u128 = u128::from_ne_bytes([0x20; KEY_BYTES]);

/// Names up to this length are compared as one number.
const KEY_BYTES: usize = 16;

/// The words in order of their buckets with their folded bytes, and where each bucket begins.
struct Index {
    order: [(u128, Word); WORDS.len()],
    starts: [u16; BUCKETS + 1],
}

static INDEX: Index = index();

const fn index() -> Index {
    let mut starts = [0; BUCKETS + 1];
    let mut word = 0;
    while word < WORDS.len() {
        let text = WORDS[word].0.as_bytes();
        starts[bucket(text[0], text.len()) + 1] += 1;
        word += 1;
    }
    let mut at = 0;
    while at < BUCKETS {
        starts[at + 1] += starts[at];
        at += 1;
    }
    let mut order = [(0, Word::Other); WORDS.len()];
    let mut filled = starts;
    word = 0;
    while word < WORDS.len() {
        let (text, name) = WORDS[word];
        let at = bucket(text.as_bytes()[0], text.len());
        order[filled[at] as usize] = (key(text.as_bytes()), name);
        filled[at] += 1;
        word += 1;
    }
    Index { order, starts }
}

/// The first bytes of `text`, folded.
const fn key(text: &[u8]) -> u128 {
    let mut bytes = [0; KEY_BYTES];
    let mut at = 0;
    while at < text.len() && at < KEY_BYTES {
        bytes[at] = text[at];
        at += 1;
    }
    (u128::from_le_bytes(bytes) | FOLD) & mask(text.len())
}

const fn mask(length: usize) -> u128 {
    if length >= KEY_BYTES { u128::MAX } else { (1 << (8 * length)) - 1 }
}

impl Word {
    /// The word spelled by `bytes`, an unquoted name.
    pub(crate) fn of(bytes: &[u8]) -> Word {
        Word::at(bytes, 0, bytes.len())
    }

    /// The word spelled by `start..end` of `text`.
    #[inline]
    pub(crate) fn at(text: &[u8], start: usize, end: usize) -> Word {
        let Some(bytes) = text.get(start..end) else { return Word::Other };
        let Some(&first) = bytes.first() else { return Word::Other };
        if !(first.is_ascii_alphabetic() || first == b'_') || bytes.len() > LENGTH_MAX {
            return Word::Other;
        }
        let at = bucket(first, bytes.len());
        let (from, to) = (INDEX.starts[at], INDEX.starts[at + 1]);
        if from == to {
            return Word::Other;
        }
        // Sixteen bytes are read at once where the text has them.
        let key = match text.get(start..).and_then(|rest| rest.first_chunk::<KEY_BYTES>()) {
            Some(chunk) => (u128::from_le_bytes(*chunk) | FOLD) & mask(bytes.len()),
            None => key(bytes),
        };
        let candidates = &INDEX.order[usize::from(from)..usize::from(to)];
        match candidates.iter().find(|(candidate, _)| *candidate == key) {
            Some((_, word)) if bytes.len() <= KEY_BYTES => *word,
            Some(_) => Word::long(bytes),
            None => Word::Other,
        }
    }

    /// Of a name whose first bytes are those of a word.
    #[cold]
    fn long(bytes: &[u8]) -> Word {
        WORDS
            .iter()
            .find(|(text, _)| text.as_bytes().eq_ignore_ascii_case(bytes))
            .map_or(Word::Other, |(_, word)| *word)
    }

    /// Units of INTERVAL and EXTRACT that are made of two.
    pub(crate) fn is_compound_unit(self) -> bool {
        matches!(
            self,
            Word::DayHour
                | Word::DayMicrosecond
                | Word::DayMinute
                | Word::DaySecond
                | Word::HourMicrosecond
                | Word::HourMinute
                | Word::HourSecond
                | Word::MinuteMicrosecond
                | Word::MinuteSecond
                | Word::SecondMicrosecond
                | Word::YearMonth
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_in_any_case() {
        for (text, word) in WORDS {
            assert_eq!(Word::of(text.as_bytes()), *word, "{text}");
            assert_eq!(Word::of(text.to_ascii_lowercase().as_bytes()), *word, "{text}");
            assert!(text.len() < 32, "{text}");
        }
    }

    #[test]
    fn other_bytes_are_other_words() {
        for text in ["", "selec", "selects", "é", "\u{7f}", "1", "_", "z", "SELEC\u{140}"] {
            assert_eq!(Word::of(text.as_bytes()), Word::Other, "{text}");
        }
        for byte in 0..=255u8 {
            assert_eq!(Word::of(&[byte]), Word::Other);
        }
    }
}
