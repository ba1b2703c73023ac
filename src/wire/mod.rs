//! The MySQL client/server protocol as values: bytes in, messages out, and back. No sockets, no clocks, no logging,
//! and no panic on any input.
//!
//! * `packet` — headers, splitting at 16 MiB, whole payloads out of a buffer.
//! * `codec` — the integers and strings that messages are made of.
//! * `capability`, `collation` — what is negotiated. * `compression` — packets around the stream of packets.
//! * `greeting`, `login`, `auth` — from the first byte to the end of the login, both sides.
//! * `command`, `file` — what clients send afterwards. * `prepared` — commands about prepared statements.
//! * `response`, `resultset` — what is answered. * `rows` — binary rows as text rows and back.
//! * `boundary` — where a server's response ends, by reading packet headers only. `chain` — it as a part of a longer answer.

mod auth;
mod boundary;
mod capability;
mod chain;
mod codec;
mod collation;
mod command;
mod compression;
mod file;
mod greeting;
mod login;
mod packet;
mod prepared;
mod response;
mod resultset;
mod rows;

pub use auth::{
    Channel, Check, Checked, ClientAuth, ClientStep, FastDigest, Plugin, Secret, ServerAuth, ServerAuthStart,
    ServerStep, fast_digest, native_hash, sha2_crypt, sha2_crypt_text,
};
pub use boundary::{Boundary, BoundaryError, FILE_REQUEST, Outcome, PacketKind, Progress, Section};
pub use capability::{
    CapabilityFlags, Offer, ServerWishes, StatusFlags, offered_to_clients, wanted_from_server,
};
pub use chain::Chaining;
pub use codec::{Malformed, Reader, put_lenenc_bytes, put_lenenc_int};
pub use collation::{
    UTF8MB4_GENERAL_CI, character_bytes, charset_of, collation_name, collation_of, default_collation_of,
};
pub use command::{Command, command_packet, query_packet};
pub use compression::{Algorithm, COMPRESSED_HEADER_BYTES, Compression, PIECE_BYTES};
pub use file::{FilePart, FileReader};
pub use greeting::{Greeting, MARIADB_PREFIX, SCRAMBLE_BYTES, is_mariadb, scramble_from};
pub use login::{Attributes, AuthSwitch, ChangeUser, FirstPacket, LoginRequest, ssl_request};
pub use packet::{Framer, HEADER_BYTES, PAYLOAD_MAX, PacketError, encode_packet, renumber};
pub use prepared::{
    Argument, ArgumentValue, CURSOR_READ_ONLY, ExecuteError, ExecuteHead, Fetch, LongPiece, ParameterType,
    PrepareOk, Shape, close_packet, decode_arguments, execute_packets, prepare_packet,
};
pub use response::{
    ErrPacket, OkPacket, SESSION_STATE_CHANGED, encode_early_err, encode_eof, encode_err, encode_ok,
    encode_ok_as_eof, without_session_state,
};
pub use resultset::{ColumnDefinition, ColumnKind, RowFormat, TextResult};
pub use rows::{binary_of_text, text_of_binary};
