//! Sequences of facts: those that happen, by name, and many that are drawn.

use super::*;

const TERMS: Terms = Terms { lag_max: Duration::from_secs(10), slow_start: Duration::from_secs(40) };

fn names(names: &[&str]) -> Vec<ServerName> {
    names.iter().map(|name| ServerName::from(*name)).collect()
}

fn of(shard: &[&str]) -> Election {
    Election::new(ShardName::from("s"), names(shard))
}

fn said(identity: &str, read_only: bool, replication: Replication) -> Word {
    Word::Said(Facts { identity: identity.into(), read_only, shared_storage: false, replication })
}

fn writer(name: &str) -> Word {
    said(name, false, Replication::None)
}

fn replica(name: &str) -> Word {
    said(name, true, Replication::Follows { running: true, lag_seconds: Some(0.0) })
}

fn behind(name: &str, seconds: f64) -> Word {
    said(name, true, Replication::Follows { running: true, lag_seconds: Some(seconds) })
}

fn demoted(name: &str) -> Word {
    said(name, true, Replication::None)
}

impl Election {
    fn told(&mut self, server: &str, word: Word) -> &mut Election {
        self.hear(&ServerName::from(server), word, Duration::from_secs(10), TERMS);
        self
    }

    /// The confirmed primary, or why there is none.
    fn verdict(&self) -> String {
        match &self.standing {
            Standing::Assumed => format!("{}?", self.primary),
            Standing::Confirmed { .. } => self.primary.to_string(),
            Standing::ReadOnly { reason, .. } | Standing::Lost { reason } => format!("none: {reason}"),
        }
    }

    fn read(&self, server: &str) -> String {
        let roles = self.roles(TERMS);
        let found = roles.rotation.into_iter().find(|(name, _)| name.0.as_ref() == server);
        match found {
            None => "primary".to_owned(),
            Some((_, Rotation::Unknown)) => "unknown".to_owned(),
            Some((_, Rotation::In { share })) => format!("{share} %"),
            Some((_, Rotation::Out { reason })) => reason.to_string(),
        }
    }
}

#[test]
fn the_maps_primary_is_confirmed_by_its_own_word() {
    let mut election = of(&["a", "b"]);
    assert_eq!(election.verdict(), "a?");
    election.told("b", replica("b"));
    assert_eq!(election.verdict(), "a?");
    election.told("a", writer("a"));
    assert_eq!((election.verdict(), election.read("b")), ("a".to_owned(), "100 %".to_owned()));
    assert!(!election.is_urgent());
}

#[test]
fn a_promoted_replica_takes_over_from_a_primary_that_is_gone() {
    let mut election = of(&["a", "b"]);
    election.told("a", writer("a")).told("b", replica("b")).told("a", Word::Gone);
    assert_eq!(election.verdict(), "none: a refuses connections and no other server takes writes");
    assert!(election.is_urgent());
    election.told("b", writer("b"));
    assert_eq!(election.verdict(), "b");
    assert!(election.read("a").starts_with("it was the primary before b"), "{}", election.read("a"));
}

#[test]
fn one_lost_probe_of_the_primary_unseats_nobody() {
    let mut election = of(&["a", "b"]);
    election.told("a", writer("a")).told("b", replica("b")).told("a", Word::Silent { times: 1 });
    assert_eq!(election.verdict(), "a");
    assert!(election.is_urgent(), "it is asked again soon");
    election.told("b", writer("b"));
    assert_eq!(election.verdict(), "none: a did not answer once and b takes writes, too");
    election.told("a", Word::Silent { times: 2 });
    assert_eq!(election.verdict(), "b");
}

/// Trap 47: writers in both groups, all removed.
#[test]
fn two_writers_are_none_until_one_steps_back() {
    let mut election = of(&["a", "b"]);
    election.told("a", writer("a")).told("b", writer("b"));
    assert_eq!(election.verdict(), "none: a takes writes and b takes writes, too");
    election.told("b", replica("b"));
    assert_eq!(election.verdict(), "a");
    election.told("b", writer("b")).told("a", demoted("a"));
    assert_eq!(election.verdict(), "b");
}

/// Trap 47: an old primary that comes back with its old configuration is not written, and does not take the new one's place.
#[test]
fn a_former_primary_that_comes_back_writable_is_left_alone() {
    let mut election = of(&["a", "b"]);
    election.told("a", writer("a")).told("b", replica("b")).told("a", Word::Gone).told("b", writer("b"));
    election.told("a", writer("a"));
    assert_eq!(election.verdict(), "b");
    election.told("b", Word::Gone);
    assert_eq!(election.verdict(), "none: b refuses connections and no other server takes writes");
    election.told("b", writer("b")).told("a", replica("a"));
    assert_eq!(election.read("a"), "25 %", "a replica like any other, which starts slowly");
    election.told("b", Word::Gone).told("a", writer("a"));
    assert_eq!(election.verdict(), "a");
}

/// Trap 47: flapping, fail over twice, both unreachable at once.
#[test]
fn it_fails_over_there_and_back_and_waits_when_nobody_is_there() {
    let mut election = of(&["a", "b"]);
    election.told("a", writer("a")).told("b", replica("b"));
    for _ in 0..3 {
        election.told("a", demoted("a")).told("b", writer("b"));
        assert_eq!(election.verdict(), "b");
        election.told("a", replica("a")).told("b", demoted("b")).told("a", writer("a"));
        assert_eq!(election.verdict(), "a");
    }
    election.told("a", Word::Gone).told("b", Word::Gone);
    assert_eq!(election.verdict(), "none: a refuses connections and no other server takes writes");
    election.told("a", writer("a"));
    assert_eq!(election.verdict(), "a");
}

#[test]
fn a_replica_that_takes_writes_is_not_a_primary() {
    let follows = |running| Replication::Follows { running, lag_seconds: None };
    let mut election = of(&["a", "b"]);
    election.told("a", writer("a")).told("b", said("b", false, follows(true)));
    assert_eq!(election.verdict(), "a");
    election.told("a", Word::Gone).told("b", said("b", false, follows(false)));
    assert!(election.verdict().starts_with("none"), "its source is gone, which promotes nobody");
    election.told("a", said("a", false, follows(true)));
    assert_eq!(election.verdict(), "a", "primaries may replicate from each other");
}

#[test]
fn who_may_not_see_replication_keeps_the_maps_primary() {
    let mut election = of(&["a", "b"]);
    election
        .told("a", said("a", false, Replication::Hidden))
        .told("b", said("b", false, Replication::Hidden));
    assert_eq!(election.verdict(), "a");
    assert_eq!(election.read("b"), "the proxy's account may not see whether it replicates");
}

#[test]
fn two_names_of_one_process_are_one_writer() {
    let mut election = of(&["cluster", "reader"]);
    election.told("cluster", writer("i-1")).told("reader", writer("i-1"));
    assert_eq!(election.verdict(), "cluster");
    assert_eq!(election.read("reader"), "it replicates from nobody");
}

#[test]
fn a_refused_login_says_nothing_of_the_role() {
    let mut election = of(&["a", "b"]);
    election.told("a", writer("a")).told("a", Word::Mute);
    assert_eq!(election.verdict(), "a");
}

#[test]
fn a_primary_that_is_read_only_may_still_be_read() {
    let mut election = of(&["a", "b"]);
    election.told("a", writer("a")).told("a", demoted("a"));
    assert!(matches!(election.standing, Standing::ReadOnly { .. }));
    assert!(election.is_urgent());
}

#[test]
fn a_replica_leaves_within_one_probe_and_comes_back_slowly() {
    let mut election = of(&["a", "b"]);
    election.told("a", writer("a")).told("b", replica("b"));
    assert_eq!(election.read("b"), "100 %", "at the start nothing is slow");
    election.told("b", behind("b", 10.5));
    assert_eq!(election.read("b"), "it is behind by more than 10s");
    let broken = Replication::Follows { running: false, lag_seconds: None };
    election.told("b", said("b", true, broken));
    assert_eq!(election.read("b"), "its replication does not run");
    let mut shares = Vec::new();
    for _ in 0..6 {
        election.told("b", replica("b"));
        shares.push(election.read("b"));
    }
    assert_eq!(shares, ["25 %", "50 %", "75 %", "100 %", "100 %", "100 %"]);
    election.told("b", Word::Silent { times: 1 });
    assert_eq!(election.read("b"), "100 %");
    election.told("b", Word::Silent { times: 2 });
    assert_eq!(election.read("b"), "it does not answer");
}

#[test]
fn a_reload_keeps_what_is_known_of_those_who_stay() {
    let mut election = of(&["a", "b"]);
    election.told("a", writer("a")).told("b", replica("b")).told("a", demoted("a")).told("b", writer("b"));
    election.follow(&names(&["a", "b", "c"]));
    assert_eq!((election.verdict(), election.read("c")), ("b".to_owned(), "unknown".to_owned()));
    election.follow(&names(&["a", "c"]));
    assert_eq!(election.verdict(), "a?", "the primary left the map");
}

/// Draws from a seed, the same on every machine.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Whatever servers say, in whatever order: the primary is never one that said of itself last that it is read only, never one that was
/// deposed and not a replica since, and never one of two that claim. Once the facts stand still, a single claim prevails.
#[test]
fn no_sequence_of_facts_makes_a_wrong_primary() {
    let servers = ["a", "b", "c"];
    for seed in 0..4000 {
        let mut draw = Draw(seed);
        let mut election = of(&servers);
        let mut silent = [0u32; 3];
        for step in 0..60 {
            let at = draw.below(3) as usize;
            let name = servers[at];
            silent[at] = if draw.below(4) == 0 { silent[at] + 1 } else { 0 };
            let word = match draw.below(7) {
                _ if silent[at] > 0 => Word::Silent { times: silent[at] },
                0 => Word::Gone,
                1 => Word::Mute,
                2 | 3 => writer(name),
                4 => demoted(name),
                _ => behind(name, draw.below(20) as f64),
            };
            let before = election.clone();
            election.told(name, word);
            let claims: Vec<&Member> = election
                .members
                .iter()
                .filter(|member| matches!(&member.word, Some(Word::Said(facts)) if facts.claims()))
                .filter(|member| !election.deposed.contains(&member.name))
                .collect();
            let context = || format!("seed {seed}, step {step}: {before:#?}\nthen {election:#?}");
            assert!(!election.deposed.contains(&election.primary), "{}", context());
            if let Standing::Confirmed { .. } = election.standing {
                let word = election.word_of(&election.primary);
                let read_only = matches!(word, Some(Word::Said(facts)) if facts.read_only);
                assert!(!read_only, "{}", context());
                let others = claims.iter().any(|member| member.name != election.primary);
                assert!(!others, "{}", context());
            }
            if before.primary != election.primary {
                assert_eq!(claims.len(), 1, "{}", context());
                assert_eq!(claims[0].name, election.primary, "{}", context());
            }
        }
        // It settles: one of them takes writes, the others follow it.
        for name in servers {
            election.told(name, replica(name));
        }
        let chosen = servers[draw.below(3) as usize];
        election.told(chosen, writer(chosen));
        assert_eq!(election.verdict(), chosen, "seed {seed}");
    }
}
