//! Who of a shard's servers is its primary and which replicas are read: decided from what each said of itself, one probe after the
//! other. Pure: no clock, no I/O. The rules are decision 28.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::topology::{Rotation, ServerName, ShardName, ShardRoles, Standing};

/// Probes in a row that must time out before a server counts as gone. A refused connection counts at once.
const SILENT_MAX: u32 = 2;
const FULL_SHARE: u8 = 100;
/// Of a replica that has just come back.
const FIRST_SHARE: u8 = 25;

/// What the last probe of a server brought.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// Nothing came in time, so many times in a row.
    Silent {
        times: u32,
    },
    /// Nobody listens there.
    Gone,
    /// It is there and does not talk to the proxy's account: that says nothing of its role.
    Mute,
    Said(Facts),
}

/// What a server said of itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    /// Of the process behind the name: two names may lead to the same.
    pub(super) identity: Arc<str>,
    pub(super) read_only: bool,
    /// `innodb_read_only`: it reads a storage that another server writes, as Aurora's readers do.
    pub(super) shared_storage: bool,
    pub(super) replication: Replication,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Replication {
    /// It replicates from nobody.
    None,
    /// The proxy's account may not see.
    Hidden,
    /// Both threads run, or not.
    Follows { running: bool, lag_seconds: Option<f64> },
}

/// One server of the shard.
#[derive(Debug, Clone)]
struct Member {
    name: ServerName,
    /// `None` before the first probe.
    word: Option<Word>,
    /// How long it has been fit to be read; `None` when it is not.
    fit_for: Option<Duration>,
    /// Fit from the first word on: no slow start after the proxy's own.
    seasoned: bool,
}

/// The state of one shard's election.
#[derive(Debug, Clone)]
pub(super) struct Election {
    shard: ShardName,
    members: Vec<Member>,
    /// The primary, or who was it last.
    primary: ServerName,
    standing: Standing,
    /// Were primaries, and another took over from them: they may lack what that one wrote, or have what it lacks. Not trusted as
    /// primaries until they were seen as replicas.
    deposed: BTreeSet<ServerName>,
    /// By order writes wait, whoever is the primary.
    held: bool,
}

/// What the decision depends on besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) lag_max: Duration,
    pub(super) slow_start: Duration,
}

impl Facts {
    /// It takes writes and replicates from nobody.
    fn claims(&self) -> bool {
        !self.read_only && self.replication == Replication::None
    }

    /// It is a replica for all that can be seen.
    fn follows(&self) -> bool {
        self.read_only || matches!(self.replication, Replication::Follows { .. })
    }
}

impl Election {
    /// `members` has the map's primary first.
    pub(super) fn new(shard: ShardName, members: Vec<ServerName>) -> Election {
        let primary = members.first().cloned().unwrap_or_else(|| ServerName::from(""));
        let members = members.into_iter().map(Member::new).collect();
        Election {
            shard,
            members,
            primary,
            standing: Standing::Assumed,
            deposed: BTreeSet::new(),
            held: false,
        }
    }

    /// The map names other servers now. Who stays is remembered.
    pub(super) fn follow(&mut self, members: &[ServerName]) {
        let known = std::mem::take(&mut self.members);
        let remembered = |name: &ServerName| known.iter().find(|member| member.name == *name).cloned();
        self.members = members
            .iter()
            .map(|name| remembered(name).unwrap_or_else(|| Member::new(name.clone())))
            .collect();
        self.deposed.retain(|name| members.contains(name));
        if !members.contains(&self.primary)
            && let Some(first) = members.first()
        {
            self.primary = first.clone();
            self.standing = Standing::Assumed;
        }
    }

    /// A probe of `server` ended. `since` is the time since the one before.
    pub(super) fn hear(&mut self, server: &ServerName, word: Word, since: Duration, terms: Terms) {
        let Some(member) = self.members.iter_mut().find(|member| member.name == *server) else { return };
        if let Word::Said(facts) = &word
            && facts.follows()
        {
            self.deposed.remove(server);
        }
        let first = member.word.is_none();
        member.word = Some(word);
        let fit = member.unfit(terms).is_none();
        member.seasoned = fit && (first || member.seasoned);
        member.fit_for = fit.then(|| member.fit_for.map_or(Duration::ZERO, |fit| fit.saturating_add(since)));
        self.decide();
    }

    pub(super) fn primary(&self) -> &ServerName {
        &self.primary
    }

    /// Whether the next word matters to statements that wait: the servers are asked every 100 ms then.
    pub(super) fn is_urgent(&self) -> bool {
        let doubted = self.members.iter().any(|member| {
            member.name == self.primary && matches!(member.word, Some(Word::Silent { .. } | Word::Gone))
        });
        doubted || matches!(self.standing, Standing::Lost { .. } | Standing::ReadOnly { .. })
    }

    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// What is to be published.
    pub(super) fn roles(&self, terms: Terms) -> ShardRoles {
        let others = self.members.iter().filter(|member| member.name != self.primary);
        let rotation = others.map(|member| (member.name.clone(), self.rotation(member, terms)));
        ShardRoles {
            shard: self.shard.clone(),
            primary: self.primary.clone(),
            standing: self.published(),
            rotation: rotation.collect(),
        }
    }

    fn published(&self) -> Standing {
        match &self.standing {
            Standing::Confirmed { identity } if self.held => Standing::ReadOnly {
                identity: Arc::clone(identity),
                reason: "a switchover is under way".into(),
            },
            standing => standing.clone(),
        }
    }

    fn rotation(&self, member: &Member, terms: Terms) -> Rotation {
        if self.deposed.contains(&member.name) {
            let reason =
                format!("it was the primary before {} and has not been a replica since", self.primary);
            return Rotation::Out { reason: reason.into() };
        }
        match (member.unfit(terms), &member.word) {
            (_, None) => Rotation::Unknown,
            (Some(reason), Some(_)) => Rotation::Out { reason: reason.into() },
            (None, Some(_)) => Rotation::In { share: member.share(terms) },
        }
    }

    fn decide(&mut self) {
        // The map's primary was not asked yet: others alone do not unseat it.
        let Some(word) = self.word_of(&self.primary).cloned() else { return };
        let rivals = self.rivals();
        let name = &self.primary;
        let (fault, lasting) = match &word {
            Word::Said(facts) if !facts.read_only => ("takes writes", false),
            Word::Said(_) => ("is read only", true),
            Word::Gone => ("refuses connections", true),
            Word::Silent { times } if *times >= SILENT_MAX => ("does not answer", true),
            // One lost probe proves nothing: neither that it is gone nor, when others claim, that it is not.
            Word::Silent { .. } => ("did not answer once", false),
            Word::Mute => ("does not talk to the proxy's account", false),
        };
        match (rivals.as_slice(), word) {
            ([], Word::Said(Facts { identity, read_only, .. })) => {
                self.standing = match read_only {
                    false => Standing::Confirmed { identity },
                    true => {
                        let reason = format!("{name} is read only and no other server takes writes");
                        Standing::ReadOnly { identity, reason: reason.into() }
                    }
                };
            }
            ([], _) if lasting => self.lose(format!("{name} {fault} and no other server takes writes")),
            ([], _) => {}
            ([only], _) if lasting => self.elect(only.clone()),
            ([one, ..], _) if !lasting => self.lose(format!("{name} {fault} and {one} takes writes, too")),
            ([one, other, ..], _) => {
                self.lose(format!("{name} {fault}; {one} and {other} both take writes"));
            }
            ([_], _) => {}
        }
    }

    /// Others that claim to be the primary and may: one name for each process.
    fn rivals(&self) -> Vec<ServerName> {
        let own = match self.word_of(&self.primary) {
            Some(Word::Said(facts)) if !facts.read_only => Some(&facts.identity),
            Some(_) | None => None,
        };
        let mut seen: Vec<&Arc<str>> = own.into_iter().collect();
        let mut rivals = Vec::new();
        for member in &self.members {
            if member.name == self.primary || self.deposed.contains(&member.name) {
                continue;
            }
            if let Some(Word::Said(facts)) = &member.word
                && facts.claims()
                && !seen.contains(&&facts.identity)
            {
                seen.push(&facts.identity);
                rivals.push(member.name.clone());
            }
        }
        rivals
    }

    fn lose(&mut self, reason: String) {
        self.standing = Standing::Lost { reason: reason.into() };
    }

    fn elect(&mut self, server: ServerName) {
        let follows = matches!(self.word_of(&self.primary), Some(Word::Said(facts)) if facts.follows());
        let old = std::mem::replace(&mut self.primary, server);
        if !follows {
            self.deposed.insert(old);
        }
        if let Some(Word::Said(facts)) = self.word_of(&self.primary) {
            self.standing = Standing::Confirmed { identity: Arc::clone(&facts.identity) };
        }
    }

    fn word_of(&self, server: &ServerName) -> Option<&Word> {
        self.members.iter().find(|member| member.name == *server)?.word.as_ref()
    }
}

impl Member {
    fn new(name: ServerName) -> Member {
        Member { name, word: None, fit_for: None, seasoned: false }
    }

    /// Why it is not read as a replica.
    fn unfit(&self, terms: Terms) -> Option<String> {
        let facts = match self.word.as_ref()? {
            Word::Silent { times } if *times < SILENT_MAX && self.fit_for.is_some() => return None,
            Word::Silent { .. } => return Some("it does not answer".to_owned()),
            Word::Gone => return Some("it refuses connections".to_owned()),
            Word::Mute => return Some("it does not talk to the proxy's account".to_owned()),
            Word::Said(facts) => facts,
        };
        match facts.replication {
            Replication::Follows { running: false, .. } => Some("its replication does not run".to_owned()),
            Replication::Follows { lag_seconds: None, .. } => Some("it does not know its lag".to_owned()),
            Replication::Follows { lag_seconds: Some(lag), .. } if lag > terms.lag_max.as_secs_f64() => {
                Some(format!("it is behind by more than {:?}", terms.lag_max))
            }
            Replication::Follows { .. } => None,
            Replication::None if facts.shared_storage => None,
            Replication::None => Some("it replicates from nobody".to_owned()),
            Replication::Hidden => Some("the proxy's account may not see whether it replicates".to_owned()),
        }
    }

    /// Rises in four steps, so that few topologies are published for it.
    fn share(&self, terms: Terms) -> u8 {
        let fit = self.fit_for.unwrap_or_default();
        if self.seasoned || fit >= terms.slow_start {
            return FULL_SHARE;
        }
        let steps = (fit.as_millis() * 4 / terms.slow_start.as_millis().max(1)) as u8;
        FIRST_SHARE + FIRST_SHARE * steps.min(3)
    }
}

#[cfg(test)]
mod tests;
