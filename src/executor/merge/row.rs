//! One row of the text protocol and where its values are.

use bytes::Bytes;

use crate::wire::{Malformed, Reader, put_lenenc_bytes};

const NULL: u8 = 0xFB;

/// A row as its server sent it.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    bytes: Bytes,
    /// Where each value begins and ends, its length in front not included; `None` is NULL.
    cells: Vec<Option<(u32, u32)>>,
}

impl Row {
    /// Takes the row of `columns` values; `cells` of the row before is used again.
    pub(super) fn read(&mut self, bytes: Bytes, columns: usize) -> Result<(), Malformed> {
        const WHAT: Malformed = Malformed("row");
        self.cells.clear();
        let mut reader = Reader::new(&bytes, "row");
        let offset = |rest: &[u8]| u32::try_from(bytes.len() - rest.len()).map_err(|_| WHAT);
        for _ in 0..columns {
            let value = reader.nullable_bytes()?;
            let end = offset(reader.rest())?;
            // Not beyond the end: the value was read from these bytes.
            self.cells.push(value.map(|value| (end - value.len() as u32, end)));
        }
        if !reader.is_empty() {
            return Err(WHAT);
        }
        self.bytes = bytes;
        Ok(())
    }

    pub(super) fn value(&self, column: usize) -> Option<&[u8]> {
        let (start, end) = (*self.cells.get(column)?)?;
        self.bytes.get(start as usize..end as usize)
    }

    /// The first `columns` values as they stand in the row: the others are a suffix of it.
    pub(super) fn front(&self, columns: usize) -> &[u8] {
        let mut end = 0;
        for cell in self.cells.iter().take(columns) {
            end = match cell {
                Some((_, end)) => *end as usize,
                None => end + 1,
            };
        }
        self.bytes.get(..end).unwrap_or_default()
    }

    pub(super) fn columns(&self) -> usize {
        self.cells.len()
    }
}

/// Appends a value as a row has it.
pub(super) fn put_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(bytes) => put_lenenc_bytes(out, bytes),
        None => out.push(NULL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in super::super) fn row(values: &[Option<&[u8]>]) -> Bytes {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| put_value(&mut bytes, *value));
        bytes.into()
    }

    #[test]
    fn the_front_of_a_row_is_cut_without_decoding() {
        let long = vec![b'x'; 300];
        let values: [Option<&[u8]>; 4] = [Some(b"a"), None, Some(&long), Some(b"hidden")];
        let mut read = Row::default();
        read.read(row(&values), 4).unwrap();
        assert_eq!(read.front(3), &row(&values[..3])[..]);
        assert_eq!(read.front(2), &row(&values[..2])[..]);
        assert_eq!(read.front(0), b"");
        assert_eq!(
            (read.value(0), read.value(1), read.value(3)),
            (Some(&b"a"[..]), None, Some(&b"hidden"[..]))
        );
        assert!(read.read(row(&values), 3).is_err());
        assert!(read.read(row(&values), 5).is_err());
    }
}
