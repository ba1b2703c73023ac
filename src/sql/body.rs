//! Where the body of a stored program ends: its semicolons belong to it. Fed with the tokens behind CREATE PROCEDURE and the like.
//!
//! Only BEGIN and CASE are followed: IF, LOOP, REPEAT, WHILE and FOR end with a word of their own behind END, and so need no
//! count inside of a block. BEGIN and END are names, too (`SELECT begin, end`). When in doubt a body goes on to the end of the
//! text: then the statement is sent whole, and the server judges.

#[derive(Debug)]
pub(super) struct Body {
    open: Vec<Part>,
    /// Parentheses around the token.
    depth: u32,
    previous: Previous,
    /// Outside of a block stands what may have semicolons of its own.
    unsure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Block,
    /// The statement or the expression.
    Case,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Previous {
    /// A statement may begin or a block may end here.
    Semicolon,
    Begin,
    /// END where one ends: what it ends is said by the next word, or not at all.
    End,
    /// `If`, outside of a block.
    If,
    /// `For`, outside of a block.
    For,
    /// A name may stand here, no statement.
    Operand,
    Other,
}

/// Blocks and expressions in each other; more is left to the server.
const OPEN_MAX: usize = 1000;

/// What a column named BEGIN stands behind.
const BEFORE_OPERAND: [&[u8]; 8] = [b"SELECT", b"BY", b"WHERE", b"AND", b"OR", b"DISTINCT", b"ON", b"HAVING"];
/// Statements with semicolons inside that are not counted, and the head of a program in Oracle's syntax.
const UNCOUNTED: [&[u8]; 5] = [b"LOOP", b"REPEAT", b"WHILE", b"AS", b"IS"];

impl Body {
    /// Behind CREATE PROCEDURE, FUNCTION, TRIGGER, EVENT.
    pub(super) fn program() -> Body {
        Body { open: Vec::new(), depth: 0, previous: Previous::Other, unsure: false }
    }

    /// Behind `BEGIN NOT`, which begins a statement of its own in MariaDB.
    pub(super) fn block() -> Body {
        Body { open: vec![Part::Block], ..Body::program() }
    }

    /// Behind CREATE PACKAGE, whose parts are not read.
    pub(super) fn package() -> Body {
        Body { unsure: true, ..Body::program() }
    }

    /// Whether a semicolon here would end the statement. Asked when one was given to [`Body::token`].
    pub(super) fn is_over(&self) -> bool {
        self.open.is_empty() && !self.unsure
    }

    pub(super) fn token(&mut self, text: &[u8]) {
        let is = |word: &[u8]| text.eq_ignore_ascii_case(word);
        let mut previous = std::mem::replace(&mut self.previous, Previous::Other);
        match previous {
            Previous::If => self.unsure |= !(is(b"NOT") || is(b"EXISTS")),
            Previous::For => self.unsure |= !is(b"EACH"),
            Previous::End => {
                let uncounted = [&b"IF"[..], b"LOOP", b"REPEAT", b"WHILE", b"FOR"].into_iter().any(is);
                if uncounted {
                    return;
                }
                let part = if is(b"CASE") { Part::Case } else { Part::Block };
                while self.open.pop().is_some_and(|open| open != part) {}
                if part == Part::Case {
                    return;
                }
                previous = Previous::Other;
            }
            Previous::Semicolon | Previous::Begin | Previous::Operand | Previous::Other => {}
        }
        self.previous = match text {
            b";" => Previous::Semicolon,
            b"(" => {
                self.depth += 1;
                Previous::Operand
            }
            b")" => {
                self.depth = self.depth.saturating_sub(1);
                Previous::Other
            }
            b":" => Previous::Other,
            _ if text.len() <= 2 && text.first().is_some_and(u8::is_ascii_punctuation) => Previous::Operand,
            _ => self.word(&is, previous),
        };
    }

    fn word(&mut self, is: &impl Fn(&[u8]) -> bool, previous: Previous) -> Previous {
        let outside = self.open.is_empty() && self.depth == 0;
        if is(b"BEGIN") && self.depth == 0 && previous != Previous::Operand {
            self.push(Part::Block);
            return Previous::Begin;
        }
        if is(b"CASE") {
            self.push(Part::Case);
        } else if is(b"END") {
            if matches!(previous, Previous::Semicolon | Previous::Begin) {
                return Previous::End;
            }
            if self.open.last() == Some(&Part::Case) {
                self.open.pop();
            }
        } else if outside && is(b"IF") {
            return Previous::If;
        } else if outside && is(b"FOR") {
            return Previous::For;
        } else if outside && UNCOUNTED.into_iter().any(is) {
            self.unsure = true;
        } else if BEFORE_OPERAND.into_iter().any(is) {
            return Previous::Operand;
        }
        Previous::Other
    }

    fn push(&mut self, part: Part) {
        self.unsure |= self.open.len() == OPEN_MAX;
        if self.open.len() < OPEN_MAX {
            self.open.push(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::testing::{MARIADB, scan_in};

    /// What stands behind the statement, by the first word there.
    fn next(text: &str) -> Option<&str> {
        let statement = scan_in(text, &MARIADB).unwrap();
        statement.next.map(|next| &text[next as usize..])
    }

    #[test]
    fn a_body_keeps_its_semicolons_and_no_more() {
        for (body, rest) in [
            ("CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", "CALL p()"),
            ("CREATE PROCEDURE IF NOT EXISTS p() SELECT 1", "SELECT 2"),
            ("DROP PROCEDURE IF EXISTS p", "CREATE PROCEDURE p() SELECT 1"),
            ("CREATE PROCEDURE p() a: BEGIN b: BEGIN END b; END a", "SELECT 2"),
            ("CREATE PROCEDURE p() BEGIN IF 1 THEN SELECT 1; ELSE SELECT 2; END IF; END", "SELECT 2"),
            ("CREATE PROCEDURE p() BEGIN l: LOOP LEAVE l; END LOOP l; END", "SELECT 2"),
            (
                "CREATE PROCEDURE p() BEGIN CASE 1 WHEN 1 THEN SELECT CASE 1 WHEN 1 THEN 2 END; END CASE; END",
                "SELECT 2",
            ),
            (
                "CREATE PROCEDURE p() BEGIN SELECT begin, end FROM t; SELECT end; SELECT t.begin; END",
                "SELECT 2",
            ),
            (
                "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; END; SELECT 1; END",
                "SELECT 2",
            ),
            ("CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN CASE 1 WHEN 1 THEN 2 END", "SELECT 2"),
            ("CREATE TRIGGER t BEFORE INSERT ON u FOR EACH ROW SET NEW.a = 1", "SELECT 2"),
            ("CREATE TRIGGER t BEFORE INSERT ON u FOR EACH ROW BEGIN SET NEW.a = 1; END", "SELECT 2"),
            ("CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM t; END", "SELECT 2"),
            ("BEGIN NOT ATOMIC SELECT 1; BEGIN SELECT 2; END; END", "SELECT 3"),
        ] {
            assert_eq!(next(body), None, "{body}");
            assert_eq!(next(&format!("{body};\n{rest}; SELECT 9")), Some(&*format!("{rest}; SELECT 9")));
        }
    }

    #[test]
    fn a_body_that_is_not_counted_goes_on_to_the_end() {
        for text in [
            "CREATE PROCEDURE p() IF 1 THEN SELECT 1; END IF; SELECT 2",
            "CREATE PROCEDURE p() WHILE 1 DO SELECT 1; END WHILE; SELECT 2",
            "CREATE PROCEDURE p IS x INT; BEGIN SELECT 1; END; SELECT 2",
            "CREATE PACKAGE a AS PROCEDURE b; END; SELECT 2",
            "CREATE PROCEDURE p() BEGIN IF 1 THEN BEGIN SELECT 1; END IF; SELECT 2",
        ] {
            assert_eq!(next(text), None, "{text}");
        }
    }
}
