//! The end of a transaction that several shards are part of in other ways than being read: it is committed on all of them or on none
//! (`executor::atomic`), or shard by shard where the session wants it so.

use super::held::Held;
use super::run::Session;
use crate::config::TransactionMode;
use crate::error::ClientError;
use crate::executor::metrics::MultiShardOutcome;
use crate::executor::{
    Answer, Failure, Interrupt, Member, Resolver, Stream, ask_each, commit_atomically, commit_each,
};
use crate::topology::ShardName;
use crate::transaction::{GlobalId, Verdict};
use crate::wire::StatusFlags;

impl<S: Stream> Session<S> {
    /// Whether the transaction ends in another way than by the client's own words on one shard.
    pub(super) fn is_joint(&self) -> bool {
        self.transaction.written().len() > 1 || self.held.iter().any(|held| held.branch.is_some())
    }

    /// Commits an open transaction on the shards that were written, and ends it on the others. On an error nothing of it is left but
    /// what the error names. With `chain` the decider begins the next one at once.
    pub(super) async fn commit_jointly(&mut self, chain: bool) -> Result<(), Failure> {
        let written = self.transaction.written().to_vec();
        let mode = self.transaction.mode(self.mode());
        let decider = self.transaction.decider().map(|(shard, id)| (shard.clone(), id));
        let committed = match (written.as_slice(), mode, decider) {
            ([], ..) => Ok(()),
            ([shard], _, _) => self.commit_alone(shard, chain).await,
            (_, TransactionMode::Atomic, Some((decider, id))) => {
                self.commit_on_all(&written, &decider, id, chain).await
            }
            (_, TransactionMode::BestEffort | TransactionMode::Atomic | TransactionMode::Single, _) => {
                self.commit_one_by_one(&written).await
            }
        };
        if written.len() > 1 {
            let outcome = match &committed {
                Ok(()) => MultiShardOutcome::Committed,
                Err(failure) => MultiShardOutcome::of(failure),
            };
            self.shared.executor_metrics.multi_shard_write(outcome);
        }
        committed?;
        // The decider's own COMMIT has begun the next one, if it was written.
        let ended = |held: &Held| held.in_transaction && !(chain && written.contains(&held.shard));
        let text = if chain { "COMMIT AND CHAIN" } else { "COMMIT AND NO CHAIN NO RELEASE" };
        let _told = self.tell(ended, |held| held.ending(text)).await;
        Ok(())
    }

    /// One shard was written: what it says is the outcome.
    async fn commit_alone(&mut self, shard: &ShardName, chain: bool) -> Result<(), Failure> {
        let Some(mut held) = self.take_transaction(shard) else { return Err(gone(shard)) };
        let statements = match (&held.branch, chain) {
            (Some(xid), _) => vec![format!("XA END {xid}"), format!("XA COMMIT {xid} ONE PHASE")],
            (None, true) => vec!["COMMIT AND CHAIN".to_owned()],
            (None, false) => vec!["COMMIT AND NO CHAIN NO RELEASE".to_owned()],
        };
        let mut answers = ask_each(vec![(held.lease.connection(), statements)]).await;
        match answers.pop() {
            Some(Ok(Answer::Ok(ok))) => {
                held.in_transaction = ok.status.contains(StatusFlags::SERVER_STATUS_IN_TRANS);
                if !held.in_transaction {
                    held.branch = None;
                }
                self.transaction.observe(&held.shard, held.in_transaction);
                self.keep_or_let_go(held);
                Ok(())
            }
            Some(Ok(Answer::Error(packet))) => {
                self.transaction.observe(&held.shard, false);
                self.abandon(held, false);
                Err(Failure::Server { shard: shard.clone(), packet })
            }
            Some(Ok(Answer::Rows(_))) | None => Err(gone(shard)),
            // Nobody knows whether it was carried out.
            Some(Err(error)) => {
                self.transaction.observe(&held.shard, false);
                self.abandon(held, false);
                Err(Failure::Backend(error))
            }
        }
    }

    async fn commit_on_all(
        &mut self,
        written: &[ShardName],
        decider: &ShardName,
        id: GlobalId,
        chain: bool,
    ) -> Result<(), Failure> {
        let Some(lead) = self.take_transaction(decider).filter(|lead| lead.branch.is_none()) else {
            return Err(gone(decider));
        };
        let mut held = vec![lead];
        for shard in written.iter().filter(|shard| *shard != decider) {
            match self.take_transaction(shard) {
                Some(one) => held.push(one),
                None => {
                    self.held.append(&mut held);
                    return Err(gone(shard));
                }
            }
        }
        let mut members: Vec<Member<'_>> = held
            .iter_mut()
            .map(|one| Member {
                shard: one.shard.clone(),
                xid: one.branch.clone(),
                connection: one.lease.connection(),
                lost: false,
            })
            .collect();
        let resolver = Resolver {
            topology: &self.shared.topology,
            pools: &self.shared.pools,
            credential: &self.user.server,
            flavor: self.flavor,
            failpoint: &self.shared.failpoint,
        };
        let ended = commit_atomically(&mut members, id, chain, &resolver).await;
        let lost: Vec<bool> = members.iter().map(|member| member.lost).collect();
        drop(members);
        for (mut one, lost) in held.into_iter().zip(lost) {
            // Prepared branches whose outcome nobody knows stay so: recovery ends them.
            let usable = !lost && ended.verdict != Verdict::Unknown;
            let chained = usable && chain && one.branch.is_none() && ended.verdict == Verdict::Committed;
            (one.in_transaction, one.branch) = (chained, None);
            self.transaction.observe(&one.shard, chained);
            match usable {
                true => self.keep_or_let_go(one),
                false => self.abandon(one, false),
            }
        }
        self.show_pins();
        ended.cause.map_or(Ok(()), Err)
    }

    async fn commit_one_by_one(&mut self, written: &[ShardName]) -> Result<(), Failure> {
        let mut held: Vec<Held> = written.iter().filter_map(|shard| self.take_transaction(shard)).collect();
        let committing = held.iter_mut().map(|one| {
            let Held { shard, lease, .. } = one;
            (&*shard, lease.connection())
        });
        let interrupt = Interrupt { alarm: self.registration.alarm(), deadline: self.due };
        let committed = commit_each(committing.collect(), &interrupt).await;
        for mut one in held {
            one.in_transaction = false;
            self.transaction.observe(&one.shard, false);
            match committed {
                Ok(()) => self.keep_or_let_go(one),
                Err(_) => self.abandon(one, false),
            }
        }
        self.show_pins();
        committed
    }
}

fn gone(shard: &ShardName) -> Failure {
    let detail = format!("the connection of the transaction on shard {shard} is gone");
    Failure::Refused(ClientError::new("SW1304", detail))
}
