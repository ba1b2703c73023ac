//! The grammar of operators' statements: text to command, or an error that names the nearest statement. Pure.

use crate::error::ClientError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Show {
        subject: Subject,
        like: Option<String>,
    },
    /// The statement to explain, as written.
    Explain(String),
    Reload,
    /// Makes a server the primary of a shard.
    SwitchOver {
        shard: String,
        target: String,
    },
    /// Ends a session.
    Kill(u32),
    /// Ends the branches of a transaction that were left prepared; `commit` where nobody can say how it was decided.
    Resolve {
        id: String,
        commit: Option<bool>,
    },
    /// Ends a session's running statement only.
    KillStatement(u32),
    Help,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Shards,
    Servers,
    Pools,
    Sessions,
    Pins,
    Transactions,
    Map,
    Variables,
    Errors,
}

/// What HELP lists and suggestions are taken from; the words up to the first that is not in capitals are matched.
pub(crate) const STATEMENTS: [(&str, &str); 17] = [
    ("SHOW SHARDS", "shards with their servers and schemes"),
    ("SHOW SERVERS", "servers as the last probe saw them: state, version, lag"),
    ("SHOW POOLS", "connections to servers: in use, idle, waited for"),
    ("SHOW SESSIONS", "clients and what they do"),
    ("SHOW PINS", "sessions that keep a connection of their own, and why"),
    (
        "SHOW TRANSACTIONS",
        "branches of transactions over several shards that are prepared and have not ended",
    ),
    ("SHOW MAP", "the shard map that is served: version, schemes, tables"),
    ("SHOW VARIABLES", "the settings in force, without secrets"),
    ("SHOW ERRORS", "the catalogue of the proxy's own errors"),
    ("EXPLAIN <statement>", "how a statement would be answered, and why that is exact"),
    ("RELOAD", "reads both files again: applied as a whole or not at all"),
    ("SWITCHOVER <shard> TO <server>", "makes a replica the primary: writes wait, nothing is lost"),
    ("KILL <id>", "ends a session"),
    ("KILL QUERY <id>", "ends the running statement of a session"),
    ("RESOLVE <id>", "ends a transaction's branches as its deciding shard says"),
    ("RESOLVE <id> COMMIT", "or ROLLBACK: the same where the deciding shard is lost for good"),
    ("HELP", "this list; SHOW … LIKE 'pattern' keeps the rows with a matching value"),
];

impl Command {
    /// Reads a statement with or without the word SHARDWAY in front.
    pub(crate) fn parse(text: &str) -> Result<Command, ClientError> {
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == ';' || c == '\0');
        let (first, rest) = split_word(text);
        if first.eq_ignore_ascii_case("SHARDWAY") {
            return Command::parse_bare(rest);
        }
        Command::parse_bare(text)
    }

    fn parse_bare(text: &str) -> Result<Command, ClientError> {
        let (verb, rest) = split_word(text);
        let command = match verb.to_ascii_uppercase().as_str() {
            "SHOW" => show(rest),
            "EXPLAIN" if !rest.is_empty() => Some(Command::Explain(rest.to_owned())),
            "RELOAD" if rest.is_empty() => Some(Command::Reload),
            "SWITCHOVER" => switchover(rest),
            "KILL" => kill(rest),
            "RESOLVE" => resolve(rest),
            "HELP" if rest.is_empty() => Some(Command::Help),
            _ => None,
        };
        command.ok_or_else(|| unreadable(text))
    }
}

fn show(text: &str) -> Option<Command> {
    let (subject, rest) = split_word(text);
    let subject = match subject.to_ascii_uppercase().as_str() {
        "SHARDS" => Subject::Shards,
        "SERVERS" => Subject::Servers,
        "POOLS" => Subject::Pools,
        "SESSIONS" => Subject::Sessions,
        "PINS" => Subject::Pins,
        "TRANSACTIONS" => Subject::Transactions,
        "MAP" => Subject::Map,
        "VARIABLES" => Subject::Variables,
        "ERRORS" => Subject::Errors,
        _ => return None,
    };
    if rest.is_empty() {
        return Some(Command::Show { subject, like: None });
    }
    let (word, pattern) = split_word(rest);
    if !word.eq_ignore_ascii_case("LIKE") {
        return None;
    }
    Some(Command::Show { subject, like: Some(unquote(pattern)?) })
}

fn resolve(text: &str) -> Option<Command> {
    let (id, how) = split_word(text);
    let commit = match how.to_ascii_uppercase().as_str() {
        "" => None,
        "COMMIT" => Some(true),
        "ROLLBACK" => Some(false),
        _ => return None,
    };
    let id = id.trim_matches(['\'', '"']).to_ascii_lowercase();
    (!id.is_empty()).then_some(Command::Resolve { id, commit })
}

fn switchover(text: &str) -> Option<Command> {
    let (shard, rest) = split_word(text);
    let (to, target) = split_word(rest);
    let whole = to.eq_ignore_ascii_case("TO") && !target.is_empty() && !target.contains(char::is_whitespace);
    whole.then(|| Command::SwitchOver { shard: shard.to_owned(), target: target.to_owned() })
}

fn kill(text: &str) -> Option<Command> {
    let (word, rest) = split_word(text);
    match word.to_ascii_uppercase().as_str() {
        "QUERY" => rest.parse().ok().map(Command::KillStatement),
        "CONNECTION" => rest.parse().ok().map(Command::Kill),
        _ if rest.is_empty() => word.parse().ok().map(Command::Kill),
        _ => None,
    }
}

/// The first word and what follows it, both without blanks around them.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

/// A string in single or double quotes; a doubled quote stands for itself.
fn unquote(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let inside = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let doubled = format!("{quote}{quote}");
    let single = inside.replace(&doubled, "");
    (!single.contains(quote)).then(|| inside.replace(&doubled, &quote.to_string()))
}

/// Shown of a statement that cannot be read, in characters.
const SHOWN_MAX: usize = 60;
/// Statements further away than this many edits are not suggested.
const EDITS_MAX: usize = 4;

fn unreadable(text: &str) -> ClientError {
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let mut detail = format!("{shown:?} is no operator statement");
    if let Some(nearest) = nearest(text) {
        detail.push_str(&format!(", did you mean {nearest}?"));
    }
    ClientError::new("SW1503", detail)
}

fn nearest(text: &str) -> Option<&'static str> {
    let words: Vec<String> = text.split_whitespace().take(3).map(str::to_ascii_uppercase).collect();
    STATEMENTS
        .iter()
        .map(|(statement, _)| {
            let fixed = statement.split(" <").next().unwrap_or(statement);
            let typed = words[..words.len().min(fixed.split(' ').count())].join(" ");
            (strsim::damerau_levenshtein(&typed, fixed), fixed.len(), *statement)
        })
        .filter(|(edits, length, _)| *edits <= EDITS_MAX.min(length / 2))
        .min_by_key(|(edits, ..)| *edits)
        .map(|(.., statement)| statement)
}

/// MySQL's LIKE without case: `%` any run, `_` any one character, `\` takes the next literally.
pub(crate) fn like(pattern: &str, value: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let value: Vec<char> = value.to_lowercase().chars().collect();
    let (mut p, mut v) = (0, 0);
    // After the last `%`: where the pattern goes on, and how far the value was matched then. One such place is enough:
    // a later `%` can do all that an earlier one could, so the time is bounded by the product of the lengths.
    let mut retry: Option<(usize, usize)> = None;
    while v < value.len() {
        match pattern.get(p) {
            Some('%') => {
                retry = Some((p + 1, v));
                p += 1;
            }
            Some('_') => (p, v) = (p + 1, v + 1),
            Some('\\') if pattern.get(p + 1) == Some(&value[v]) => (p, v) = (p + 2, v + 1),
            Some(&plain) if plain == value[v] && plain != '\\' => (p, v) = (p + 1, v + 1),
            _ => match &mut retry {
                Some((after, from)) => {
                    *from += 1;
                    (p, v) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&rest| rest == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let error = Command::parse(text).expect_err(text);
        assert_eq!(error.entry.id, "SW1503");
        error.detail
    }

    #[test]
    fn every_statement_of_the_help_can_be_read() {
        for (statement, _) in STATEMENTS {
            let statement =
                statement.replace("<id>", "7").replace("<statement>", "SELECT 1").replace(['<', '>'], "");
            Command::parse(&statement).unwrap();
            Command::parse(&format!(" shardway  {} ; ", statement.to_lowercase())).unwrap();
        }
    }

    #[test]
    fn arguments_arrive_as_written() {
        assert_eq!(
            Command::parse("SHARDWAY EXPLAIN SELECT  'a;b' FROM t;").unwrap(),
            Command::Explain("SELECT  'a;b' FROM t".to_owned())
        );
        assert_eq!(
            Command::parse("show pools like '%it''s%'").unwrap(),
            Command::Show { subject: Subject::Pools, like: Some("%it's%".to_owned()) }
        );
        assert_eq!(Command::parse("KILL QUERY 12").unwrap(), Command::KillStatement(12));
        assert_eq!(Command::parse("KILL CONNECTION 12").unwrap(), Command::Kill(12));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_nearest_statement() {
        assert_eq!(
            refusal("SHOW SHARD"),
            "\"SHOW SHARD\" is no operator statement, did you mean SHOW SHARDS?"
        );
        assert!(refusal("RELAOD").ends_with("did you mean RELOAD?"));
        assert!(refusal("kil 5").ends_with("did you mean KILL <id>?"));
        assert!(refusal("show pool like 'x'").ends_with("did you mean SHOW POOLS?"));
        assert_eq!(refusal("DROP TABLE customers"), "\"DROP TABLE customers\" is no operator statement");
        for text in
            ["", "SHOW", "KILL", "KILL x", "KILL 1 2", "SHOW MAP LIKE x", "SHOW MAP LIKE 'a'b'", "RELOAD now"]
        {
            refusal(text);
        }
    }

    #[test]
    fn like_matches_as_mysql_does() {
        for (pattern, value, expected) in [
            ("shard%", "Shard1", true),
            ("%1", "shard1", true),
            ("s_ard1", "shard1", true),
            ("s_rd1", "shard1", false),
            ("%a%b%c", "xxaxxbxxbc", true),
            ("100\\%", "100%", true),
            ("100\\%", "1000", false),
            ("", "", true),
            ("", "x", false),
            ("%", "", true),
            ("abc", "ab", false),
            ("%aab", "aaab", true),
        ] {
            assert_eq!(like(pattern, value), expected, "{value} LIKE {pattern}");
        }
    }
}
