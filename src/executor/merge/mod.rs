//! Rows of several shards in, rows of one result out: pure, fed with rows and asked for rows. Knows the text protocol's rows
//! and nothing of connections, so that it does not matter how a shard was asked.
//!
//! * `row` — where the values of a row are. `key` — how two rows compare, by the types that the shards' columns have.
//! * `decimal`, `float` — numbers as servers compute and print them. `aggregate` — the columns of a group. `condition` — HAVING.
//! * `merger` — the whole: one row of each shard at a time, folded, filtered, cut to LIMIT; sorted within a budget of bytes
//!   where the plan asks for it (`sorter`).

mod aggregate;
mod condition;
mod decimal;
mod float;
mod key;
mod merger;
mod row;
mod sorter;

#[cfg(test)]
mod tests;

pub(crate) use merger::{MergeError, Merger, Step};
