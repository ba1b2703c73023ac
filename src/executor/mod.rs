//! Runs one plan: on one shard the bytes of the result pass through; on several the rows are concatenated (names united), or a write is
//! done on all of them. Memory is bounded: by one read buffer per connection on the way through, by the largest row else.
//!
//! The executor borrows leases and the client's link; it keeps nothing. After a failure the session drops the leases,
//! which closes their connections.

mod alarm;
mod atomic;
mod client;
mod concatenate;
mod copy;
mod everywhere;
mod exchange;
mod failure;
mod gather;
mod handle;
mod interrupt;
mod load;
mod load_many;
mod merge;
pub(crate) mod metrics;
mod moment;
mod passthrough;
mod results;
mod union;

pub(crate) use alarm::{Alarm, Call};
pub(crate) use atomic::{Member, Resolver, commit_atomically};
pub(crate) use client::{Client, CommandError, Reply, Stream, Traffic};
pub(crate) use concatenate::concatenate;
pub(crate) use copy::{Budget, CopiedColumn, Copy, copied_columns, copy, select_list};
pub(crate) use everywhere::{
    Ending, Participant, Progress, Tally, commit_each, define_everywhere, write_everywhere, write_within,
};
pub(crate) use exchange::{
    Answer, ask, ask_each, ask_for, ask_typed, prepare, refused_as_read_only, tells_of_demotion, watched,
};
pub(crate) use failure::Failure;
pub(crate) use gather::{Terms, merge};
pub(crate) use handle::{
    Description, Handle, Preparable, close, cursor_exists, describe_for, handle_for, is_forgotten,
    last_row_sent, reply_prepared,
};
pub(crate) use interrupt::Interrupt;
pub(crate) use load::pass_load;
pub(crate) use load_many::{Share, load_everywhere};
pub(crate) use merge::{Merger, Step};
pub(crate) use passthrough::passthrough;
pub(crate) use union::{Listing, union};
