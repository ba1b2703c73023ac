//! What changes how bytes are read: sql_mode, the client's character set, the server's flavor and version.
//! Knows where characters end, not what they mean.

/// What changes how bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Context {
    pub(crate) mode: SqlMode,
    pub(crate) charset: Charset,
    pub(crate) flavor: Flavor,
    /// As in executable comments: 80406 for 8.4.6, 101119 for MariaDB 10.11.19. `/*!NNNNN */` above it is a comment.
    pub(crate) server_version: u32,
}

/// The sql_mode bits that change reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct SqlMode {
    pub(crate) ansi_quotes: bool,
    pub(crate) no_backslash_escapes: bool,
    pub(crate) pipes_as_concat: bool,
    pub(crate) ignore_space: bool,
    pub(crate) high_not_precedence: bool,
}

impl SqlMode {
    /// From the value of `@@sql_mode` (comma-separated names; ANSI and the other combinations count as their parts).
    pub(crate) fn from_names(names: &str) -> SqlMode {
        const COMBINED: [&str; 7] = ["ANSI", "ORACLE", "MSSQL", "DB2", "MAXDB", "POSTGRESQL", "MYSQL323"];
        let mut mode = SqlMode::default();
        for name in names.split(',') {
            let name = name.trim().to_ascii_uppercase();
            match name.as_str() {
                "ANSI_QUOTES" => mode.ansi_quotes = true,
                "NO_BACKSLASH_ESCAPES" => mode.no_backslash_escapes = true,
                "PIPES_AS_CONCAT" => mode.pipes_as_concat = true,
                "IGNORE_SPACE" => mode.ignore_space = true,
                "HIGH_NOT_PRECEDENCE" | "MYSQL323" | "MYSQL40" => mode.high_not_precedence = true,
                name if COMBINED.contains(&name) => {
                    mode.ansi_quotes = true;
                    mode.pipes_as_concat = true;
                    mode.ignore_space = true;
                }
                _ => {}
            }
        }
        mode
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Flavor {
    MySql,
    MariaDb,
}

/// Character sets of clients, as far as they change where a literal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Charset {
    /// Every byte below 0x80 is that ASCII character: utf8mb4, utf8mb3, latin1, binary, ascii, euc-kr, …
    #[default]
    AsciiSafe,
    Gbk,
    Gb18030,
    Big5,
    /// sjis and cp932.
    Sjis,
}

impl Charset {
    /// From a value of `character_set_client`.
    pub(crate) fn from_name(name: &str) -> Charset {
        match name.to_ascii_lowercase().as_str() {
            "gbk" => Charset::Gbk,
            "gb18030" => Charset::Gb18030,
            "big5" => Charset::Big5,
            "sjis" | "cp932" => Charset::Sjis,
            _ => Charset::AsciiSafe,
        }
    }

    /// Whether `byte` may begin a character of several bytes whose later bytes look like ASCII.
    pub(crate) fn is_lead(self, byte: u8) -> bool {
        match self {
            Charset::AsciiSafe => false,
            Charset::Gbk | Charset::Gb18030 => (0x81..=0xfe).contains(&byte),
            Charset::Big5 => (0xa1..=0xf9).contains(&byte),
            Charset::Sjis => (0x81..=0x9f).contains(&byte) || (0xe0..=0xfc).contains(&byte),
        }
    }

    /// The length of the character that `bytes` begins with, as the server counts it: a lead byte without a valid
    /// trail byte is a character of its own.
    pub(crate) fn character_length(self, bytes: &[u8]) -> usize {
        let (Some(&lead), Some(&trail)) = (bytes.first(), bytes.get(1)) else { return 1 };
        if !self.is_lead(lead) {
            return 1;
        }
        let ascii = (0x40..=0x7e).contains(&trail);
        let two = match self {
            Charset::AsciiSafe => false,
            Charset::Gbk | Charset::Gb18030 => ascii || (0x80..=0xfe).contains(&trail),
            Charset::Big5 => ascii || (0xa1..=0xfe).contains(&trail),
            Charset::Sjis => ascii || (0x80..=0xfc).contains(&trail),
        };
        if two {
            return 2;
        }
        let four = self == Charset::Gb18030
            && trail.is_ascii_digit()
            && bytes.get(2).is_some_and(|&third| self.is_lead(third))
            && bytes.get(3).is_some_and(u8::is_ascii_digit);
        if four { 4 } else { 1 }
    }
}

/// The character sets that MySQL and MariaDB accept as introducers (`_utf8mb4'x'`), without the underscore.
pub(crate) fn is_charset_name(name: &[u8]) -> bool {
    const NAMES: [&str; 42] = [
        "utf8mb4", "utf8", "utf8mb3", "latin1", "binary", "ascii", "armscii8", "big5", "cp1250", "cp1251",
        "cp1256", "cp1257", "cp850", "cp852", "cp866", "cp932", "dec8", "eucjpms", "euckr", "gb18030",
        "gb2312", "gbk", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin2",
        "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620", "ucs2", "ujis", "utf16",
        "utf16le", "utf32",
    ];
    NAMES.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combined_modes_count_as_their_parts() {
        let mode = SqlMode::from_names("REAL_AS_FLOAT,ANSI");
        assert!(mode.ansi_quotes && mode.pipes_as_concat && mode.ignore_space);
        assert!(!mode.no_backslash_escapes);
        assert_eq!(SqlMode::from_names("STRICT_TRANS_TABLES"), SqlMode::default());
        assert!(SqlMode::from_names("strict_all_tables, no_backslash_escapes").no_backslash_escapes);
    }

    #[test]
    fn characters_end_where_the_server_sees_their_end() {
        assert_eq!(Charset::Gbk.character_length(b"\xbf\x5c'"), 2);
        assert_eq!(Charset::Gbk.character_length(b"\xbf'"), 1);
        assert_eq!(Charset::Gb18030.character_length(b"\x81\x30\x81\x30"), 4);
        assert_eq!(Charset::Sjis.character_length(b"\x83\x5c"), 2);
        assert_eq!(Charset::Sjis.character_length(b"\xb1\x5c"), 1);
        assert_eq!(Charset::Big5.character_length(b"\xa5\x5c"), 2);
        assert_eq!(Charset::AsciiSafe.character_length("é".as_bytes()), 1);
    }
}
