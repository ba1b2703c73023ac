//! COM_FIELD_LIST: the columns of a table, asked of a shard that has it.

use bytes::Bytes;

use super::asked::Asked;
use super::lend::Joining;
use super::run::{End, Session};
use crate::error::ClientError;
use crate::executor::{Failure, Interrupt, Stream, passthrough};
use crate::router::Part;
use crate::sql;
use crate::topology::{ShardId, Topology};
use crate::wire::{Boundary, command_packet};

const COM_FIELD_LIST: u8 = 0x04;

impl<S: Stream> Session<S> {
    /// `wildcard` is a pattern of LIKE, or empty.
    pub(super) async fn field_list(&mut self, table: &[u8], wildcard: &[u8]) -> Result<(), End> {
        let topology = self.shared.topology.load();
        let shard = match self.shard_of_table(table, &topology).await {
            Ok(shard) => shard,
            Err(error) => return self.refuse(&error).await,
        };
        match self.field_list_of(shard, table, wildcard, &topology).await {
            Ok(()) => Ok(()),
            Err(failure) => self.fail(failure).await,
        }
    }

    /// Where SHOW COLUMNS would go.
    async fn shard_of_table(&mut self, table: &[u8], topology: &Topology) -> Result<ShardId, ClientError> {
        let name: Vec<u8> =
            table.iter().flat_map(|&byte| if byte == b'`' { vec![b'`', b'`'] } else { vec![byte] }).collect();
        let text = [&b"SHOW COLUMNS FROM `"[..], &name, b"`"].concat();
        let mut statement = sql::Statement::default();
        let unread = |reason: String| ClientError::new("SW1201", format!("the name of a table: {reason}"));
        statement.scan(&text, self.variables.context()).map_err(|error| unread(error.to_string()))?;
        let asked = Asked::text(&text, &statement);
        let plan = self.plan(asked, topology);
        self.may_name(&plan.tables)?;
        let shards = topology.shards.len().max(1);
        let any = topology.shards.get(self.registration.id() as usize % shards).map(|shard| shard.id);
        match self.route(&plan, asked, topology).await?.part {
            Part::One(shard) => Ok(shard),
            Part::Any | Part::Nowhere => {
                any.ok_or_else(|| ClientError::new("SW1211", "the map has no shards"))
            }
            Part::Scratch => Err(ClientError::new("SW1202", "the columns of a table on several shards")),
            Part::Many(targets) => {
                let detail = format!("the columns of a table on {} shards", targets.len());
                Err(ClientError::new("SW1202", detail))
            }
        }
    }

    async fn field_list_of(
        &mut self,
        shard: ShardId,
        table: &[u8],
        wildcard: &[u8],
        topology: &Topology,
    ) -> Result<(), Failure> {
        let role = self.chosen.role.unwrap_or(crate::topology::Role::Primary);
        let mut held = self.connection_of(shard, topology, role, Joining::Nothing).await?;
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.deadline(None) };
        let connection = held.lease.connection();
        let command = Bytes::from(command_packet(COM_FIELD_LIST, &[table, b"\0", wildcard].concat()));
        let listed = match connection.send(&command).await {
            Ok(()) => {
                let boundary = Boundary::field_list(self.client.deprecate_eof());
                passthrough(connection, &mut self.client, &interrupt, boundary).await
            }
            Err(error) => Err(Failure::Backend(error)),
        };
        match listed {
            Ok(_) => {
                self.keep_or_let_go(held);
                Ok(())
            }
            Err(failure) => Err(self.lost(held, failure)),
        }
    }
}
