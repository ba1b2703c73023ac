//! What accounts must be allowed for commits over several shards, for `shardway check --connect`.

use mysql_async::Row;

use super::client::Client;
use super::error::ControlError;
use super::inspect::Finding;
use crate::config::Credential;
use crate::topology::Server;
use crate::transaction::recovery;

/// Writes no row; whether it may is checked all the same.
const NOTE_NOTHING: &str =
    "INSERT INTO shardway.decision (id, outcome, decided_ms) SELECT 'x', 'abort', 0 FROM DUAL WHERE FALSE";
const READ_NOTHING: &str = "SELECT outcome FROM shardway.decision LIMIT 0";
const REMOVE_NOTHING: &str = "DELETE FROM shardway.decision WHERE FALSE";
/// The table is not there, or its schema.
const MISSING: [u16; 2] = [1146, 1049];

/// Of the account that commits, on the primary of a shard.
pub(super) async fn of_user(client: &mut Client, server: &Server, account: &Credential) -> Vec<Finding> {
    for statement in [NOTE_NOTHING, READ_NOTHING] {
        if let Some(error) = refusal(client, statement).await.filter(|error| !is_missing(error)) {
            return vec![Finding::Warning(format!(
                "transactions of {user} that write on several shards will be refused (SW1310): on {server} it needs \
                 GRANT INSERT, SELECT ON shardway.decision TO {user} ({error})",
                user = account.user,
                server = server.name,
            ))];
        }
    }
    Vec::new()
}

/// Of the proxy's own account, on the primary of a shard.
pub(super) async fn of_control(client: &mut Client, server: &Server, account: &Credential) -> Vec<Finding> {
    let (user, server) = (&account.user, &server.name);
    let mut findings = Vec::new();
    if let Some(error) = refusal(client, "XA RECOVER").await {
        findings.push(Finding::Fault(format!(
            "what a lost proxy leaves prepared on {server} could not be found: it needs GRANT XA_RECOVER_ADMIN ON *.* TO {user} ({error})"
        )));
    }
    for statement in [NOTE_NOTHING, READ_NOTHING, REMOVE_NOTHING] {
        match refusal(client, statement).await {
            None => {}
            Some(error) if is_missing(&error) => {
                findings.push(Finding::Warning(format!(
                    "{server} has no table shardway.decision: a proxy makes it at its start if {user} may, by GRANT CREATE, INSERT, \
                     SELECT, DELETE ON shardway.* TO {user}; else make it yourself: {}; {}",
                    recovery::CREATE_SCHEMA,
                    recovery::CREATE_TABLE,
                )));
                break;
            }
            Some(error) => {
                findings.push(Finding::Fault(format!(
                    "what a lost proxy leaves prepared could not be ended on {server}: it needs GRANT INSERT, SELECT, DELETE ON \
                     shardway.decision TO {user} ({error})"
                )));
                break;
            }
        }
    }
    findings
}

async fn refusal(client: &mut Client, statement: &str) -> Option<ControlError> {
    let asked: Result<Vec<Row>, ControlError> = client.rows("allow a statement", statement.to_owned()).await;
    asked.err()
}

fn is_missing(error: &ControlError) -> bool {
    matches!(error, ControlError::Query { cause: mysql_async::Error::Server(error), .. } if MISSING.contains(&error.code))
}
