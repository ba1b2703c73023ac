//! LOAD DATA: how the lines of the file are written and where their fields go. Reads the statement as far as somebody must know
//! who splits the file; the statement itself is always forwarded as it was written.

use super::cursor::Cursor;
use super::lex::TokenKind;
use super::literal::{Value, decode_raw};
use super::{Context, LiteralClass, ParseError, Statement, Word};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileLoad {
    pub(crate) format: FileFormat,
    /// `CHARACTER SET`; else it is the database's.
    pub(crate) charset: Option<String>,
    pub(crate) lines_skipped: u64,
    /// Where fields go, in their order; `None` is the table's columns.
    pub(crate) fields: Option<Vec<FieldTarget>>,
    pub(crate) assigned: Vec<String>,
    /// User variables that the assignments read.
    pub(crate) variables_read: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldTarget {
    Column(String),
    /// In lower case, with its `@`.
    Variable(String),
}

/// FIELDS and LINES.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileFormat {
    pub(crate) field_end: Vec<u8>,
    pub(crate) enclosed: Option<u8>,
    pub(crate) escape: Option<u8>,
    /// The escape was not written: servers take a backslash.
    pub(crate) escape_by_default: bool,
    pub(crate) line_start: Vec<u8>,
    pub(crate) line_end: Vec<u8>,
}

impl Default for FileFormat {
    fn default() -> FileFormat {
        FileFormat {
            field_end: b"\t".to_vec(),
            enclosed: None,
            escape: Some(b'\\'),
            escape_by_default: true,
            line_start: Vec::new(),
            line_end: b"\n".to_vec(),
        }
    }
}

/// Reads `LOAD DATA … INTO TABLE …` to its end; an error says where reading stopped.
pub(crate) fn file_load(
    text: &[u8],
    statement: &Statement,
    context: &Context,
) -> Result<FileLoad, ParseError> {
    let mut reader = Reader { cursor: Cursor::new(text, statement, context)? };
    while !reader.cursor.eat_all(&[Word::Into, Word::Table]) {
        if reader.cursor.is_at_end() {
            return Err(reader.cursor.expected("INTO TABLE"));
        }
        reader.cursor.advance();
    }
    reader.behind_table()
}

struct Reader<'a> {
    cursor: Cursor<'a>,
}

impl Reader<'_> {
    fn behind_table(&mut self) -> Result<FileLoad, ParseError> {
        self.cursor.name()?;
        if self.cursor.eat_symbol(b'.') {
            self.cursor.name()?;
        }
        if self.cursor.eat(Word::Partition) {
            self.parentheses()?;
        }
        let mut load = FileLoad {
            format: FileFormat::default(),
            charset: None,
            lines_skipped: 0,
            fields: None,
            assigned: Vec::new(),
            variables_read: Vec::new(),
        };
        if self.cursor.eat_all(&[Word::Character, Word::Set]) || self.cursor.eat(Word::Charset) {
            load.charset = Some(self.cursor.name_or_string()?.to_ascii_lowercase());
        }
        if self.cursor.eat_any(&[Word::Fields, Word::Columns]).is_some() {
            self.field_format(&mut load.format)?;
        }
        if self.cursor.eat_text("LINES") {
            self.line_format(&mut load.format)?;
        }
        if self.cursor.eat(Word::Ignore) {
            load.lines_skipped = self.number()?;
            if !self.cursor.eat_text("LINES") && !self.cursor.eat_text("ROWS") {
                return Err(self.cursor.expected("LINES"));
            }
        }
        if self.cursor.eat_symbol(b'(') {
            load.fields = Some(self.fields()?).filter(|fields| !fields.is_empty());
        }
        if self.cursor.eat(Word::Set) {
            self.assignments(&mut load)?;
        }
        self.cursor.expect_end()?;
        Ok(load)
    }

    fn field_format(&mut self, format: &mut FileFormat) -> Result<(), ParseError> {
        loop {
            if self.cursor.eat_text("TERMINATED") {
                format.field_end = self.by_string()?;
            } else if self.cursor.is_text("OPTIONALLY") || self.cursor.is_text("ENCLOSED") {
                self.cursor.eat_text("OPTIONALLY");
                if !self.cursor.eat_text("ENCLOSED") {
                    return Err(self.cursor.expected("ENCLOSED"));
                }
                format.enclosed = self.by_byte()?;
            } else if self.cursor.eat_text("ESCAPED") {
                format.escape = self.by_byte()?;
                format.escape_by_default = false;
            } else {
                return Ok(());
            }
        }
    }

    fn line_format(&mut self, format: &mut FileFormat) -> Result<(), ParseError> {
        loop {
            if self.cursor.eat_text("STARTING") {
                format.line_start = self.by_string()?;
            } else if self.cursor.eat_text("TERMINATED") {
                format.line_end = self.by_string()?;
            } else {
                return Ok(());
            }
        }
    }

    fn by_byte(&mut self) -> Result<Option<u8>, ParseError> {
        match self.by_string()?.as_slice() {
            [] => Ok(None),
            [byte] => Ok(Some(*byte)),
            _ => Err(self.cursor.expected("one character in front of this")),
        }
    }

    fn by_string(&mut self) -> Result<Vec<u8>, ParseError> {
        self.cursor.expect(Word::By, "BY")?;
        let token = self.cursor.peek();
        let TokenKind::Literal(class) = token.kind else { return Err(self.cursor.expected("a string")) };
        let value = decode_raw(self.cursor.text(token.start..token.end), class, self.cursor.context());
        let bytes = match value {
            Value::Text { bytes, .. } => bytes.into_owned(),
            Value::Hex(bytes) | Value::Bit(bytes) => bytes.to_vec(),
            _ => return Err(self.cursor.expected("a string")),
        };
        self.cursor.advance();
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u64, ParseError> {
        let token = self.cursor.peek();
        let digits = std::str::from_utf8(self.cursor.text(token.start..token.end)).ok();
        let number = digits.filter(|_| token.kind == TokenKind::Literal(LiteralClass::Integer));
        let number = number.and_then(|digits| digits.parse().ok());
        let number = number.ok_or_else(|| self.cursor.expected("a number"))?;
        self.cursor.advance();
        Ok(number)
    }

    /// Behind the `(`.
    fn fields(&mut self) -> Result<Vec<FieldTarget>, ParseError> {
        let mut fields = Vec::new();
        if self.cursor.eat_symbol(b')') {
            return Ok(fields);
        }
        loop {
            let token = self.cursor.peek();
            if token.kind == TokenKind::UserVariable {
                fields.push(FieldTarget::Variable(self.variable()));
                self.cursor.advance();
            } else {
                let mut name = self.cursor.name()?;
                while self.cursor.eat_symbol(b'.') {
                    name = self.cursor.name()?;
                }
                fields.push(FieldTarget::Column(name));
            }
            if self.cursor.eat_symbol(b')') {
                return Ok(fields);
            }
            if !self.cursor.eat_symbol(b',') {
                return Err(self.cursor.expected("a comma"));
            }
        }
    }

    fn variable(&self) -> String {
        let token = self.cursor.peek();
        String::from_utf8_lossy(self.cursor.text(token.start..token.end)).to_ascii_lowercase()
    }

    /// Behind SET: the columns on the left sides, the user variables on the right.
    fn assignments(&mut self, load: &mut FileLoad) -> Result<(), ParseError> {
        loop {
            let mut name = self.cursor.name()?;
            while self.cursor.eat_symbol(b'.') {
                name = self.cursor.name()?;
            }
            load.assigned.push(name);
            if !self.cursor.eat_symbol(b'=') {
                return Err(self.cursor.expected("="));
            }
            let mut depth = 0_u32;
            while !self.cursor.is_at_end() && (depth > 0 || !self.cursor.peek().is_symbol(b',')) {
                let token = self.cursor.peek();
                match token.kind {
                    TokenKind::Symbol(b'(') => depth += 1,
                    TokenKind::Symbol(b')') => depth = depth.saturating_sub(1),
                    TokenKind::UserVariable => load.variables_read.push(self.variable()),
                    _ if matches!(token.word(), Word::Select | Word::Table | Word::Values) => {
                        return Err(self.cursor.expected("an expression without a query"));
                    }
                    _ => {}
                }
                self.cursor.advance();
            }
            if !self.cursor.eat_symbol(b',') {
                return Ok(());
            }
        }
    }

    fn parentheses(&mut self) -> Result<(), ParseError> {
        if !self.cursor.eat_symbol(b'(') {
            return Err(self.cursor.expected("a list in parentheses"));
        }
        while !self.cursor.eat_symbol(b')') {
            if self.cursor.is_at_end() {
                return Err(self.cursor.expected(")"));
            }
            self.cursor.advance();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::testing::{MYSQL, scan};

    fn read(text: &str) -> Result<FileLoad, String> {
        file_load(text.as_bytes(), &scan(text), &MYSQL).map_err(|error| error.to_string())
    }

    #[test]
    fn every_clause_is_read() {
        let load = read(
            "LOAD DATA LOW_PRIORITY LOCAL INFILE 'x' REPLACE INTO TABLE d.`t` PARTITION (p0, p1) CHARACTER SET 'utf8mb4' \
             COLUMNS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' \
             LINES STARTING BY '>>' TERMINATED BY X'0D0A' IGNORE 3 ROWS (a, @B, t.`c`) SET d = f(@b, (1)), e = DEFAULT;",
        )
        .unwrap();
        assert_eq!(
            load.format,
            FileFormat {
                field_end: b",".to_vec(),
                enclosed: Some(b'"'),
                escape: None,
                escape_by_default: false,
                line_start: b">>".to_vec(),
                line_end: b"\r\n".to_vec(),
            }
        );
        assert_eq!((load.charset.as_deref(), load.lines_skipped), (Some("utf8mb4"), 3));
        let column = |name: &str| FieldTarget::Column(name.to_owned());
        assert_eq!(load.fields, Some(vec![column("a"), FieldTarget::Variable("@b".to_owned()), column("c")]));
        assert_eq!(load.assigned, ["d", "e"]);
        assert_eq!(load.variables_read, ["@b"]);
    }

    #[test]
    fn what_is_left_out_is_as_servers_take_it() {
        let load = read("LOAD DATA LOCAL INFILE 'x' INTO TABLE t").unwrap();
        assert_eq!((load.format, load.fields, load.lines_skipped), (FileFormat::default(), None, 0));
        assert_eq!(read("LOAD DATA LOCAL INFILE 'x' INTO TABLE t ()").unwrap().fields, None);
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        for text in [
            "LOAD DATA LOCAL INFILE 'x'",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t FIELDS ENCLOSED BY 'ab'",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t FIELDS TERMINATED BY a",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t (a b)",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t (a) SET b = (SELECT 1)",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t (a) PARALLEL = 4",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
