//! LOAD DATA LOCAL: what must be so before a server is asked, and the files for several shards.

use super::metrics::RouteLabel;
use super::run::Session;
use crate::error::ClientError;
use crate::executor::metrics::MultiShardOutcome;
use crate::executor::{Answer, Failure, Interrupt, Participant, Share, Stream, ask, load_everywhere};
use crate::planner::{CHARSETS_SPLIT, FileLines, Plan, Routing};
use crate::router::{LineSplitter, Target};
use crate::sql::{self, Verb};
use crate::topology::Topology;
use crate::wire::{CapabilityFlags, OkPacket};

impl<S: Stream> Session<S> {
    /// A file for copies of a reference table, or for the shards of its lines.
    pub(super) async fn load_on_many(
        &mut self,
        plan: &Plan,
        targets: &[Target],
        participants: &mut [Participant<'_>],
        topology: &Topology,
    ) -> Result<OkPacket, Failure> {
        self.account.route = RouteLabel::Everywhere;
        let line_bytes_max = self.settings.limits.packet_bytes_max;
        let mut share = match &plan.routing {
            Routing::Lines(file) => {
                let charset = charset_of_file(file, participants).await?;
                let shards = targets.iter().map(|target| target.shard).collect();
                let context = self.variables.context();
                let splitter = LineSplitter::new(file, shards, charset, context, topology, line_bytes_max);
                Share::Lines(Box::new(splitter))
            }
            _ => Share::Copies,
        };
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        let ending = self.shared.ending(self.mode(), participants, &self.user, self.flavor);
        let loaded = load_everywhere(participants, &mut share, &ending, &mut self.client, &interrupt).await;
        self.shared.executor_metrics.multi_shard_write(match &loaded {
            Ok(_) => MultiShardOutcome::Committed,
            Err(failure) => MultiShardOutcome::of(failure),
        });
        loaded
    }

    /// The proxy always tells servers that it can send files: whether the client can is its own business.
    pub(super) fn may_load(&self, text: &[u8], statement: &sql::Statement) -> Result<(), ClientError> {
        let verb = sql::outline(text, statement, self.variables.context()).map(|outline| outline.verb);
        let local = matches!(verb, Ok(Verb::Load { local: true }) | Err(_));
        if local && !self.client.capabilities().contains(CapabilityFlags::CLIENT_LOCAL_FILES) {
            let detail =
                "Loading local data is disabled; this must be enabled on both the client and server sides";
            return Err(ClientError::new("SW1107", detail));
        }
        Ok(())
    }
}

/// What servers would read the file in.
async fn charset_of_file(file: &FileLines, participants: &mut [Participant<'_>]) -> Result<String, Failure> {
    if let Some(charset) = &file.charset {
        return Ok(charset.clone());
    }
    let Some(participant) = participants.first_mut() else { return Ok(String::new()) };
    let answer = ask(participant.connection, b"SELECT @@character_set_database").await?;
    let name = match &answer {
        Answer::Rows(rows) => rows.first().and_then(|row| row.first()).and_then(Option::as_deref),
        Answer::Ok(_) | Answer::Error(_) => None,
    };
    let name = String::from_utf8_lossy(name.unwrap_or_default()).to_ascii_lowercase();
    if CHARSETS_SPLIT.contains(&name.as_str()) {
        return Ok(name);
    }
    let detail = format!("LOAD DATA in the database's character set {name:?}: write CHARACTER SET utf8mb4");
    Err(Failure::Refused(ClientError::new("SW1215", detail)))
}
