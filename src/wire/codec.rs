//! The integers and strings of the protocol: a reader that never runs past its bytes, and writers. Everything that
//! decodes a stranger's bytes goes through [`Reader`], so a length that lies becomes [`Malformed`], not a panic.
//! Protocol pages: "Protocol::LengthEncodedInteger", "Protocol::NullTerminatedString".

use bytes::BufMut;

/// The bytes end early or a length does not fit; `0` names what was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// Reads from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// `what` names the message in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Reader<'a> {
        Reader { rest: bytes, what }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed(self.what))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u24(&mut self) -> Result<u32, Malformed> {
        self.array::<3>().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length-encoded integer. 0xFB (NULL in rows) and 0xFF are not integers.
    pub fn lenenc_int(&mut self) -> Result<u64, Malformed> {
        match self.u8()? {
            small @ 0..=0xFA => Ok(u64::from(small)),
            0xFC => self.u16().map(u64::from),
            0xFD => self.u24().map(u64::from),
            0xFE => self.u64(),
            0xFB | 0xFF => Err(Malformed(self.what)),
        }
    }

    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.lenenc_int()?;
        self.take(usize::try_from(length).map_err(|_| Malformed(self.what))?)
    }

    /// One value of a text row: `None` is NULL.
    pub fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        if self.rest.first() == Some(&0xFB) {
            self.rest = &self.rest[1..];
            return Ok(None);
        }
        self.lenenc_bytes().map(Some)
    }

    /// Up to a NUL, which is taken, too.
    pub fn nul_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let end = memchr::memchr(0, self.rest).ok_or(Malformed(self.what))?;
        let taken = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(taken)
    }

    /// Up to a NUL or the end: some clients and servers leave the last NUL out.
    pub fn nul_or_rest(&mut self) -> &'a [u8] {
        match self.nul_bytes() {
            Ok(taken) => taken,
            Err(_) => std::mem::take(&mut self.rest),
        }
    }
}

pub fn put_lenenc_int(out: &mut impl BufMut, value: u64) {
    match value {
        0..=0xFA => out.put_uint_le(value, 1),
        0xFB..=0xFFFF => {
            out.put_u8(0xFC);
            out.put_uint_le(value, 2);
        }
        0x1_0000..=0xFF_FFFF => {
            out.put_u8(0xFD);
            out.put_uint_le(value, 3);
        }
        _ => {
            out.put_u8(0xFE);
            out.put_u64_le(value);
        }
    }
}

pub fn put_lenenc_bytes(out: &mut impl BufMut, bytes: &[u8]) {
    put_lenenc_int(out, bytes.len() as u64);
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_beyond_the_bytes_is_malformed() {
        assert!(Reader::new(&[0xFD, 0xFF, 0xFF, 0xFF, 1], "x").lenenc_bytes().is_err());
        assert!(Reader::new(&[0xFE, 255, 255, 255, 255, 255, 255, 255, 255], "x").lenenc_bytes().is_err());
        assert!(Reader::new(&[0xFC, 1], "x").lenenc_int().is_err());
        assert!(Reader::new(b"abc", "x").nul_bytes().is_err());
    }

    #[test]
    fn null_is_told_from_empty() {
        let mut reader = Reader::new(&[0xFB, 0x00], "x");
        assert_eq!(reader.nullable_bytes(), Ok(None));
        assert_eq!(reader.nullable_bytes(), Ok(Some(&b""[..])));
    }

    proptest! {
        #[test]
        fn integers_come_back(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_lenenc_int(&mut out, value);
            let mut reader = Reader::new(&out, "x");
            prop_assert_eq!(reader.lenenc_int(), Ok(value));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn strings_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut out = Vec::new();
            put_lenenc_bytes(&mut out, &bytes);
            prop_assert_eq!(Reader::new(&out, "x").lenenc_bytes(), Ok(&bytes[..]));
        }
    }
}
