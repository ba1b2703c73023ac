//! MySQL is the collation library: what a server says about a collation, asked once per collation and kept.

use std::collections::HashMap;
use std::sync::Arc;

use mysql_async::{Row, Value};
use parking_lot::Mutex;

use super::client::Client;
use super::error::ControlError;
use crate::topology::{Collation, without_padding};

/// Collations learned so far, for the life of the process. Bounded by the number of collations that servers have.
#[derive(Debug, Default)]
pub(super) struct Collations {
    learned: Mutex<HashMap<String, Learned>>,
}

/// `None`: the collation's weights do not say which texts are equal under it.
type Learned = Option<Arc<Collation>>;

/// Texts that are compared with each other, by the server and by their weights, before weights are trusted: case,
/// accents, padding, characters without weight, expansions, contractions.
const PROBES: [&str; 36] = [
    "", " ", "  ", "\0", "\0 ", " \0", "a", "A", "a ", "a\0", "b", "ä", "Ä ", "á", "ae", "æ", "ss", "ß",
    "ch", "c", "Ch", "ij", "\u{a0}", "i", "ı", "İ", "-", "a-", "z", "ž", "n", "ñ", "e", "é", "o", "ø",
];

impl Collations {
    pub(super) fn known(&self, name: &str) -> Option<Arc<Collation>> {
        self.learned.lock().get(name).cloned().flatten()
    }

    /// What is known of the collation `name` of `charset`, from memory or from the server. `None` when the server's
    /// WEIGHT_STRING does not agree with its own comparisons (MariaDB's collations of several levels): keys under such a
    /// collation cannot be placed.
    pub(super) async fn learn(
        &self,
        client: &mut Client,
        name: &str,
        charset: &str,
    ) -> Result<Option<Arc<Collation>>, ControlError> {
        let known = self.learned.lock().get(name).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let asked = ask(client, name, charset).await?;
        let learned = if is_trusted(client, &asked).await? { Some(Arc::new(asked)) } else { None };
        self.learned.lock().insert(name.to_owned(), learned.clone());
        Ok(learned)
    }
}

async fn ask(client: &mut Client, name: &str, charset: &str) -> Result<Collation, ControlError> {
    let binary = name == "binary" || name.ends_with("_bin");
    let text = |hex: &str| expression(hex, "utf8mb4", charset, name);
    // PAD_ATTRIBUTE is not there on every server; the comparison itself is.
    let question = format!("SELECT {} = {}", text("61")?, text("612020")?);
    let (equal,): (Option<u8>,) = client.row("compare text with padding", question).await?;
    let pad_space = equal == Some(1);
    let ascii = if binary {
        // Compared by their bytes, which are the characters' own but in wide character sets.
        let wide = charset.starts_with("utf16") || charset.starts_with("utf32") || charset == "ucs2";
        (!wide).then(|| Arc::new(std::array::from_fn(|byte| vec![byte as u8])))
    } else {
        ask_ascii(client, name, charset).await?.map(Arc::new)
    };
    Ok(Collation { name: name.to_owned(), charset: charset.to_owned(), pad_space, ascii, binary })
}

/// The weights of the ASCII characters; `None` when weights of neighbours depend on each other.
async fn ask_ascii(
    client: &mut Client,
    name: &str,
    charset: &str,
) -> Result<Option<[Vec<u8>; 128]>, ControlError> {
    const WHAT: &str = "weigh the ASCII characters";
    let weigh = |texts: Vec<String>| -> Result<String, ControlError> {
        let columns: Result<Vec<String>, ControlError> = texts
            .iter()
            .map(|hex| Ok(format!("WEIGHT_STRING({})", expression(hex, "utf8mb4", charset, name)?)))
            .collect();
        Ok(format!("SELECT {}", columns?.join(", ")))
    };
    let question = weigh((0..128).map(|byte| format!("{byte:02x}")).collect())?;
    let Some(singles) = weights(client.row(WHAT, question).await?) else { return Ok(None) };
    let Ok(table) = <[Vec<u8>; 128]>::try_from(singles) else { return Ok(None) };
    // Row c is c0 c1 c2 …: with all rows every pair of characters is met in both orders. A collation in which a pair
    // weighs other than its parts (contractions, several levels) fails here.
    let rows = (0..128u8).map(|first| (0..128u8).flat_map(|second| [first, second]).collect::<Vec<u8>>());
    let rows: Vec<Vec<u8>> = rows.collect();
    let question = weigh(rows.iter().map(|row| hex(row)).collect())?;
    let Some(pairs) = weights(client.row(WHAT, question).await?) else { return Ok(None) };
    let sums_up = rows.iter().zip(&pairs).all(|(row, pair)| {
        let sum: Vec<u8> = row.iter().flat_map(|&byte| &table[usize::from(byte)]).copied().collect();
        sum == *pair
    });
    Ok((sums_up && pairs.len() == rows.len()).then_some(table))
}

/// Whether equal weights are equal texts and the other way round, for all pairs of the probes.
async fn is_trusted(client: &mut Client, collation: &Collation) -> Result<bool, ControlError> {
    const WHAT: &str = "compare text";
    let texts: Vec<Vec<u8>> = PROBES.iter().map(|text| text.as_bytes().to_vec()).collect();
    let learned = match weigh(client, collation, "utf8mb4", &texts).await {
        Ok(learned) => learned,
        // No weights at all.
        Err(ControlError::Answer { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    if collation.pad_space && collation.ascii.is_none() {
        // One level: a text weighs what its characters weigh, and padding is a suffix. On several levels the weights of
        // whatever equals a space stay in the middle.
        let parts: Vec<Vec<u8>> = [&b"xq"[..], b"x", b"q"].map(<[u8]>::to_vec).to_vec();
        let parts = weigh(client, collation, "utf8mb4", &parts).await?;
        if parts[0] != [&parts[1][..], &parts[2]].concat() {
            return Ok(false);
        }
    }
    let mut columns = Vec::new();
    let mut expected = Vec::new();
    for (index, left) in texts.iter().enumerate() {
        for (other, right) in texts.iter().enumerate().take(index) {
            let side = |text: &[u8]| expression(&hex(text), "utf8mb4", &collation.charset, &collation.name);
            columns.push(format!("({}) = ({})", side(left)?, side(right)?));
            expected.push(learned[index] == learned[other]);
        }
    }
    let row: Row = client.row(WHAT, format!("SELECT CONCAT({})", columns.join(", "))).await?;
    let Some(answers) = weights(row).and_then(|mut row| row.pop()) else { return Ok(false) };
    let own = texts
        .iter()
        .zip(&learned)
        .all(|(text, weights)| collation.weights_of(text, "utf8mb4").is_none_or(|own| own == *weights));
    Ok(own && answers.iter().map(|answer| *answer == b'1').eq(expected))
}

/// `WEIGHT_STRING` of texts written in `charset`, as they stand in a key: without padding. Binary collations have the
/// bytes themselves in the collation's character set.
pub(super) async fn weigh(
    client: &mut Client,
    collation: &Collation,
    charset: &str,
    texts: &[Vec<u8>],
) -> Result<Vec<Vec<u8>>, ControlError> {
    const WHAT: &str = "weigh text";
    // The last column is the weight of a space.
    let space = expression("20", "utf8mb4", &collation.charset, &collation.name)?;
    let mut columns = Vec::with_capacity(texts.len() + 1);
    for text in texts {
        // Collations of several levels have the weights of padding in the middle, where they cannot be cut off.
        let padding = text.iter().rev().take_while(|byte| collation.pad_space && **byte == b' ').count();
        let text = &text[..text.len() - padding];
        columns.push(expression(&hex(text), charset, &collation.charset, &collation.name)?);
    }
    columns.push(space);
    let form = |column: &String| {
        if collation.binary {
            format!("CAST({column} AS BINARY)")
        } else {
            format!("WEIGHT_STRING({column})")
        }
    };
    let columns: Vec<String> = columns.iter().map(form).collect();
    let answer = || ControlError::Answer { server: client.server().clone(), what: WHAT };
    let unexpected = answer();
    let row: Row = client.row(WHAT, format!("SELECT {}", columns.join(", "))).await?;
    let Some(mut learned) = weights(row).filter(|learned| learned.len() == columns.len()) else {
        return Err(unexpected);
    };
    let space = learned.pop().filter(|_| collation.pad_space);
    Ok(learned.into_iter().map(|weight| without_padding(weight, space.as_deref())).collect())
}

/// The text with the bytes `hex` of the character set `from`, under `collation` of `charset`.
fn expression(hex: &str, from: &str, charset: &str, collation: &str) -> Result<String, ControlError> {
    for name in [from, charset, collation] {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(ControlError::Name { name: name.to_owned() });
        }
    }
    Ok(format!("CONVERT(_{from} X'{hex}' USING {charset}) COLLATE {collation}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every column as bytes; `None` when one is NULL: the collation has no weights to show.
fn weights(row: Row) -> Option<Vec<Vec<u8>>> {
    let bytes = |value| match value {
        Some(Value::Bytes(bytes)) => Some(bytes),
        _ => None,
    };
    row.unwrap_raw().into_iter().map(bytes).collect()
}
