//! zlib and zstd behind one face: a piece at once to pack, a stream to unpack. The only place that names their crates.

use zstd::stream::raw::{DParameter, Operation};

use super::Algorithm;

/// Of zlib, 0 to 9. Servers use 6; 3 takes about half of its time for a few percent more bytes (ProxySQL's choice, too).
const ZLIB_LEVEL: u32 = 3;
/// 16 KiB, the most that is packed at once.
const ZLIB_WINDOW_BITS: u8 = 14;
/// Clients may ask for up to 22; beyond this a piece takes milliseconds and gets hardly shorter.
const ZSTD_LEVEL_MAX: u8 = 9;
/// A packet unpacks to 16 MiB at most, so no window needs to be larger.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

pub(super) enum Deflate {
    Zlib(Box<flate2::Compress>),
    Zstd(Box<zstd::bulk::Compressor<'static>>),
    /// The library could not be set up (no memory): packets go as they are.
    Stored,
}

impl Deflate {
    pub(super) fn new(algorithm: Algorithm) -> Deflate {
        match algorithm {
            Algorithm::Zlib => {
                let level = flate2::Compression::new(ZLIB_LEVEL);
                Deflate::Zlib(Box::new(flate2::Compress::new_with_window_bits(level, true, ZLIB_WINDOW_BITS)))
            }
            Algorithm::Zstd { level } => {
                let level = i32::from(level.clamp(1, ZSTD_LEVEL_MAX));
                let made = zstd::bulk::Compressor::new(level);
                made.map_or(Deflate::Stored, |compressor| Deflate::Zstd(Box::new(compressor)))
            }
        }
    }

    /// Packs a whole piece; `None` when it does not fit into `out`.
    pub(super) fn run(&mut self, piece: &[u8], out: &mut [u8]) -> Option<usize> {
        match self {
            Deflate::Zlib(compress) => {
                compress.reset();
                let status = compress.compress(piece, out, flate2::FlushCompress::Finish).ok()?;
                (status == flate2::Status::StreamEnd).then(|| usize::try_from(compress.total_out()).ok())?
            }
            Deflate::Zstd(compressor) => compressor.compress_to_buffer(piece, out).ok(),
            Deflate::Stored => None,
        }
    }
}

/// What one step of unpacking did.
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
    /// The end of what was packed at once has been read.
    pub(super) ended: bool,
}

pub(super) enum Inflate {
    Zlib(Box<flate2::Decompress>),
    Zstd(Box<zstd::stream::raw::Decoder<'static>>),
    /// The library could not be set up (no memory).
    Unable,
}

impl Inflate {
    pub(super) fn new(algorithm: Algorithm) -> Inflate {
        match algorithm {
            Algorithm::Zlib => Inflate::Zlib(Box::new(flate2::Decompress::new(true))),
            Algorithm::Zstd { .. } => {
                let made = zstd::stream::raw::Decoder::new().and_then(|mut decoder| {
                    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
                    Ok(decoder)
                });
                made.map_or(Inflate::Unable, |decoder| Inflate::Zstd(Box::new(decoder)))
            }
        }
    }

    /// Another packet begins; the last one may have ended anywhere.
    pub(super) fn restart(&mut self) {
        match self {
            Inflate::Zlib(decompress) => decompress.reset(true),
            Inflate::Zstd(decoder) => {
                if decoder.reinit().is_err() {
                    *self = Inflate::Unable;
                }
            }
            Inflate::Unable => {}
        }
    }

    /// `None` when `input` is nothing that was packed.
    pub(super) fn run(&mut self, input: &[u8], out: &mut [u8]) -> Option<Step> {
        match self {
            Inflate::Zlib(decompress) => {
                let (read, written) = (decompress.total_in(), decompress.total_out());
                let status = decompress.decompress(input, out, flate2::FlushDecompress::None).ok()?;
                Some(Step {
                    read: usize::try_from(decompress.total_in() - read).ok()?,
                    written: usize::try_from(decompress.total_out() - written).ok()?,
                    ended: status == flate2::Status::StreamEnd,
                })
            }
            Inflate::Zstd(decoder) => {
                let status = decoder.run_on_buffers(input, out).ok()?;
                let moved = status.bytes_read > 0 || status.bytes_written > 0;
                Some(Step {
                    read: status.bytes_read,
                    written: status.bytes_written,
                    ended: moved && status.remaining == 0,
                })
            }
            Inflate::Unable => None,
        }
    }
}
