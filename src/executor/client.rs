//! The client's end of the wire: commands in, packets out. Generic over the stream, so that tests run it in memory.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::ClientError;
use crate::wire::{
    CapabilityFlags, Chaining, Compression, ErrPacket, FilePart, FileReader, Framer, OkPacket, PIECE_BYTES,
    PacketError, RowFormat, StatusFlags, TextResult, encode_eof, encode_err, encode_ok, encode_ok_as_eof,
    encode_packet,
};

/// Bytes that a client may send ahead while its statement runs; after that it is not read until the statement ends.
const READ_AHEAD_MAX: usize = 64 * 1024;
/// Replies are written out when this many bytes have gathered.
const WRITE_BATCH: usize = 64 * 1024;
/// Room for reads of a file.
const FILE_READ_BYTES: usize = 64 * 1024;
/// Room for reads: a buffer of this length serves many short commands.
const READ_BYTES: usize = 4 * 1024;
/// A read is not begun with less room than this.
const READ_BYTES_MIN: usize = 512;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

#[derive(Debug)]
pub(crate) struct Client<S> {
    stream: S,
    received: BytesMut,
    out: Vec<u8>,
    framer: Framer,
    capabilities: CapabilityFlags,
    traffic: Traffic,
    /// Where the file is that the client sends.
    file: FileReader,
    /// `None` costs nothing but a look.
    compressed: Option<Box<Compressed>>,
    /// Further results follow in the answer to this command.
    more_results: bool,
}

/// What stands between the stream and a client that compresses.
#[derive(Debug)]
struct Compressed {
    compression: Compression,
    /// Read and not unpacked yet.
    received: BytesMut,
    out: Vec<u8>,
}

/// Bytes exchanged with a client.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) from_client: u64,
    pub(crate) to_client: u64,
}

/// Replies of the proxy's own.
#[derive(Debug)]
pub(crate) enum Reply<'a> {
    Ok(OkPacket),
    Error(&'a ClientError),
    /// A server's own error, unchanged.
    ServerError(&'a ErrPacket),
    Table {
        table: &'a TextResult,
        format: RowFormat,
        status: StatusFlags,
    },
    /// The answer to COM_SET_OPTION.
    End {
        status: StatusFlags,
    },
    /// The answer to COM_STATISTICS.
    Text(&'a str),
}

impl<S: Stream> Client<S> {
    /// `received` is what the login has read too much.
    pub(crate) fn new(
        stream: S,
        received: BytesMut,
        packet_bytes_max: usize,
        capabilities: CapabilityFlags,
    ) -> Client<S> {
        let traffic = Traffic { from_client: received.len() as u64, to_client: 0 };
        let framer = Framer::new(packet_bytes_max);
        Client {
            stream,
            received,
            out: Vec::new(),
            framer,
            capabilities,
            traffic,
            file: FileReader::default(),
            compressed: None,
            more_results: false,
        }
    }

    /// From now on everything is compressed, in both directions.
    pub(crate) fn compress(mut self, compression: Compression, packet_bytes_max: usize) -> Client<S> {
        let received = std::mem::take(&mut self.received);
        self.compressed = Some(Box::new(Compressed { compression, received, out: Vec::new() }));
        // As in servers, only the packets around are in order: clients number the others as they like.
        self.framer = Framer::unchecked(packet_bytes_max);
        self.file = FileReader::unchecked();
        self
    }

    /// Says whether results of further statements of the same packet follow that of the running one. What servers answer is
    /// changed accordingly; the proxy's own replies carry the status flags that they are given.
    pub(crate) fn announce_more(&mut self, more: bool) {
        self.more_results = more;
    }

    pub(crate) fn has_announced_more(&self) -> bool {
        self.more_results
    }

    pub(crate) fn deprecate_eof(&self) -> bool {
        self.capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF)
    }

    /// What was negotiated at the login.
    pub(crate) fn capabilities(&self) -> CapabilityFlags {
        self.capabilities
    }

    /// The next command's payload; `None` when the client closed its connection between commands. Cancel safe.
    pub(crate) async fn command(&mut self) -> Result<Option<Bytes>, CommandError> {
        if self.framer.is_between_payloads() {
            self.framer.restart();
        }
        self.payload().await
    }

    /// What the client says in the course of a command: its number continues those of the command. Cancel safe.
    pub(crate) async fn packet_of_exchange(&mut self) -> Result<Bytes, CommandError> {
        let payload = self.payload().await?;
        payload.ok_or_else(|| CommandError::Gone(io::ErrorKind::UnexpectedEof.into()))
    }

    async fn payload(&mut self) -> Result<Option<Bytes>, CommandError> {
        loop {
            if let Some(payload) = self.framer.take(&mut self.received)? {
                if let Some(compressed) = &mut self.compressed {
                    compressed.compression.answer();
                }
                return Ok(Some(payload));
            }
            if self.read().await? == 0 {
                return if self.received.is_empty() && self.framer.is_between_payloads() {
                    Ok(None)
                } else {
                    Err(CommandError::Gone(io::ErrorKind::UnexpectedEof.into()))
                };
            }
        }
    }

    /// The next bytes of the file that the client sends, as they come; `None` at its end. The next call begins where this one
    /// ended. Cancel safe.
    pub(super) async fn file_part(&mut self) -> Result<Option<Bytes>, CommandError> {
        loop {
            if let Some(part) = self.file.take(&mut self.received, self.framer.sequence_mut())? {
                return Ok(match part {
                    FilePart::Bytes(bytes) => Some(bytes),
                    FilePart::End => {
                        if let Some(compressed) = &mut self.compressed {
                            compressed.compression.answer();
                        }
                        None
                    }
                });
            }
            self.received.reserve(FILE_READ_BYTES);
            if self.read().await? == 0 {
                return Err(CommandError::Gone(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Ends when the client has closed its connection; keeps what it sends ahead meanwhile. Cancel safe.
    pub(super) async fn gone(&mut self) -> io::Error {
        // The number of a compressed answer is that of the last packet read, so what comes ahead is not mixed with more.
        let ahead_max = if self.compressed.is_some() { 1 } else { READ_AHEAD_MAX };
        loop {
            if self.received.len() >= ahead_max {
                std::future::pending::<()>().await;
            }
            match self.read().await {
                Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => {}
                Err(CommandError::Gone(error)) => return error,
                Err(CommandError::Packet(error)) => return io::Error::new(io::ErrorKind::InvalidData, error),
            }
        }
    }

    /// Reads once. The room is taken anew only when it is used up: the last command may still lie in the buffer, which then
    /// cannot be used again from its front.
    async fn read(&mut self) -> Result<usize, CommandError> {
        if let Some(compressed) = &mut self.compressed {
            return compressed.read(&mut self.stream, &mut self.received, &mut self.traffic).await;
        }
        if self.received.capacity() - self.received.len() < READ_BYTES_MIN {
            self.received.reserve(READ_BYTES);
        }
        let count = self.stream.read_buf(&mut self.received).await.map_err(CommandError::Gone)?;
        self.traffic.from_client += count as u64;
        Ok(count)
    }

    /// Writes packets that are already framed, after what waits to be written. Flushed: TLS holds back what the socket does not
    /// take at once, and after the last bytes of an answer nothing would push it out.
    pub(super) async fn forward(&mut self, packets: &[u8]) -> io::Result<()> {
        if !self.out.is_empty() {
            self.flush().await?;
        }
        self.write(packets).await?;
        self.stream.flush().await
    }

    async fn write(&mut self, packets: &[u8]) -> io::Result<()> {
        match &mut self.compressed {
            None => {
                self.traffic.to_client += packets.len() as u64;
                self.stream.write_all(packets).await
            }
            Some(compressed) => compressed.write(packets, &mut self.stream, &mut self.traffic).await,
        }
    }

    /// What a response whose first packet has the number `first` must become to be the next part of the answer.
    pub(super) fn chaining(&self, first: u8) -> Chaining {
        Chaining { shift: self.framer.sequence().wrapping_sub(first), more: self.more_results }
    }

    /// So many packets of the response were forwarded: the proxy's own packets are numbered after them.
    pub(super) fn count_packets(&mut self, packets: u8) {
        let sequence = self.framer.sequence_mut();
        *sequence = sequence.wrapping_add(packets);
    }

    /// Frames one packet with the next sequence number; writes when enough has gathered.
    pub(super) async fn put(&mut self, payload: &[u8]) -> io::Result<()> {
        encode_packet(payload, self.framer.sequence_mut(), &mut self.out);
        if self.out.len() >= WRITE_BATCH { self.flush().await } else { Ok(()) }
    }

    /// One packet of an exchange, at once.
    pub(crate) async fn say(&mut self, payload: &[u8]) -> io::Result<()> {
        self.put(payload).await?;
        self.flush().await
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let mut out = std::mem::take(&mut self.out);
        self.write(&out).await?;
        out.clear();
        out.shrink_to(WRITE_BATCH);
        self.out = out;
        self.stream.flush().await
    }

    pub(crate) async fn reply(&mut self, reply: Reply<'_>) -> io::Result<()> {
        let payload = match reply {
            Reply::Ok(ok) => encode_ok(&ok),
            Reply::Error(error) => {
                encode_err(error.entry.code, error.entry.sqlstate, error.message().as_bytes())
            }
            Reply::ServerError(packet) => {
                encode_err(packet.code, &String::from_utf8_lossy(&packet.sqlstate), &packet.message)
            }
            Reply::End { status } => self.end_of_rows(status, 0),
            Reply::Text(text) => text.as_bytes().to_vec(),
            Reply::Table { table, format, status } => {
                table.encode(self.capabilities, format, status, self.framer.sequence_mut(), &mut self.out);
                return self.flush().await;
            }
        };
        self.say(&payload).await
    }

    /// EOF, or the OK packet in its place.
    pub(super) fn end_of_rows(&self, status: StatusFlags, warnings: u16) -> Vec<u8> {
        if self.deprecate_eof() {
            encode_ok_as_eof(&OkPacket { status, warnings, ..OkPacket::default() })
        } else {
            encode_eof(status, warnings).to_vec()
        }
    }

    /// What was exchanged since this was last asked.
    pub(crate) fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// Ends the connection in order: what was written arrives, then the end of the stream.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

impl Compressed {
    /// Unpacks into `plain`: what is there already, else what comes. 0 at the end of the stream. Cancel safe.
    async fn read<S: Stream>(
        &mut self,
        stream: &mut S,
        plain: &mut BytesMut,
        traffic: &mut Traffic,
    ) -> Result<usize, CommandError> {
        loop {
            let unpacked = self.compression.unpack(&mut self.received, plain)?;
            if unpacked > 0 {
                return Ok(unpacked);
            }
            self.received.reserve(READ_BYTES);
            let count = stream.read_buf(&mut self.received).await.map_err(CommandError::Gone)?;
            traffic.from_client += count as u64;
            if count == 0 && !(self.received.is_empty() && self.compression.is_between_packets()) {
                return Err(CommandError::Gone(io::ErrorKind::UnexpectedEof.into()));
            }
            if count == 0 {
                return Ok(0);
            }
        }
    }

    async fn write<S: Stream>(
        &mut self,
        packets: &[u8],
        stream: &mut S,
        traffic: &mut Traffic,
    ) -> io::Result<()> {
        for piece in packets.chunks(PIECE_BYTES) {
            self.out.clear();
            self.compression.pack(piece, &mut self.out);
            traffic.to_client += self.out.len() as u64;
            stream.write_all(&self.out).await?;
        }
        Ok(())
    }
}

/// How reading a command fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("the client is gone")]
    Gone(#[source] io::Error),
    #[error(transparent)]
    Packet(#[from] PacketError),
}
