//! Weights of texts for sessions: what a server says, kept in a bounded cache.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quick_cache::sync::Cache;
use tokio::sync::watch;

use super::client::Client;
use super::collation::{self, Collations};
use super::error::ControlError;
use super::status::ServerStatus;
use crate::config::Settings;
use crate::topology::{Collation, ColumnType, Server, ServerName, Topology, TopologyHandle};

/// Texts whose weights are remembered.
const CACHED_MAX: usize = 65_536;
/// Texts in one question to a server.
const TEXTS_AT_ONCE: usize = 256;
/// Questions to servers under way at once.
const QUESTIONS_MAX: usize = 8;
/// How long a statement waits for weights, in probe timeouts: a server that does not answer, and one that does.
const PATIENCE_PROBES: u32 = 3;

/// Collation name, character set of the text, text.
type CacheKey = (String, String, Vec<u8>);

/// Asks servers how texts compare.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    topology: TopologyHandle,
    settings: watch::Receiver<Arc<Settings>>,
    servers: watch::Receiver<Arc<[ServerStatus]>>,
    collations: Arc<Collations>,
    cache: Arc<Cache<CacheKey, Arc<Vec<u8>>>>,
    questions: Arc<tokio::sync::Semaphore>,
    /// Rises with each question, so that every server gets its share of them.
    asked: Arc<AtomicUsize>,
}

impl Weights {
    pub(super) fn new(
        topology: TopologyHandle,
        settings: watch::Receiver<Arc<Settings>>,
        servers: watch::Receiver<Arc<[ServerStatus]>>,
        collations: Arc<Collations>,
    ) -> Weights {
        Weights {
            topology,
            settings,
            servers,
            collations,
            cache: Arc::new(Cache::new(CACHED_MAX)),
            questions: Arc::new(tokio::sync::Semaphore::new(QUESTIONS_MAX)),
            asked: Arc::default(),
        }
    }

    /// The weights of `texts`, written in `charset`, under `collation`, in the same order, as they stand in keys (without
    /// padding). Takes at most three probe timeouts, waiting for other questions included. Cancel safe.
    pub(crate) async fn learn(
        &self,
        collation: &str,
        charset: &str,
        texts: &[Vec<u8>],
    ) -> Result<Vec<Vec<u8>>, ControlError> {
        let patience = self.settings.borrow().control.probe_timeout * PATIENCE_PROBES;
        let learned = tokio::time::timeout(patience, self.learn_unbounded(collation, charset, texts)).await;
        learned.unwrap_or_else(|_| {
            Err(ControlError::NoServer { last: format!("none answered within {patience:?}") })
        })
    }

    async fn learn_unbounded(
        &self,
        collation: &str,
        charset: &str,
        texts: &[Vec<u8>],
    ) -> Result<Vec<Vec<u8>>, ControlError> {
        let key = |text: &Vec<u8>| (collation.to_owned(), charset.to_owned(), text.clone());
        let missing: Vec<Vec<u8>> =
            texts.iter().filter(|text| self.cache.get(&key(text)).is_none()).cloned().collect();
        let mut learned = HashMap::new();
        if !missing.is_empty() {
            let _permit = self.questions.acquire().await.map_err(|_| ControlError::Stopping)?;
            for (text, weights) in missing.iter().zip(self.ask(collation, charset, &missing).await?) {
                let weights = Arc::new(weights);
                self.cache.insert(key(text), Arc::clone(&weights));
                learned.insert(text.clone(), weights);
            }
        }
        let known = |text: &Vec<u8>| learned.get(text).cloned().or_else(|| self.cache.get(&key(text)));
        let weights: Option<Vec<Vec<u8>>> = texts.iter().map(|text| Some(known(text)?.to_vec())).collect();
        match weights {
            Some(weights) => Ok(weights),
            // Evicted between the two look-ups: the answer is asked for afresh.
            None => self.ask(collation, charset, texts).await,
        }
    }

    async fn ask(
        &self,
        collation: &str,
        charset: &str,
        texts: &[Vec<u8>],
    ) -> Result<Vec<Vec<u8>>, ControlError> {
        let settings = self.settings.borrow().control.clone();
        let topology = self.topology.load();
        let mut last = "the map has no server".to_owned();
        let known = self.collations.known(collation).or_else(|| used_collation(&topology, collation));
        let Some(of) = known else {
            return Err(ControlError::NoServer { last: format!("no table of the map uses {collation}") });
        };
        'servers: for server in self.order(&topology) {
            let mut client = match Client::connect(server, &settings.credential, settings.probe_timeout).await
            {
                Ok(client) => client,
                Err(error) => {
                    last = error.to_string();
                    continue;
                }
            };
            let mut weights = Vec::with_capacity(texts.len());
            for part in texts.chunks(TEXTS_AT_ONCE) {
                match collation::weigh(&mut client, &of, charset, part).await {
                    Ok(part) => weights.extend(part),
                    Err(error) => {
                        last = error.to_string();
                        // The text is at fault, or the name: another server would say the same.
                        if error.is_refusal() || matches!(error, ControlError::Name { .. }) {
                            return Err(error);
                        }
                        continue 'servers;
                    }
                }
            }
            client.close().await;
            return Ok(weights);
        }
        Err(ControlError::NoServer { last })
    }

    /// Those that answered their last probe first, beginning with another one each time.
    fn order<'a>(&self, topology: &'a Topology) -> Vec<&'a Server> {
        let seen = Arc::clone(&self.servers.borrow());
        let reachable: HashSet<&ServerName> =
            seen.iter().filter(|status| status.reachable).map(|status| &status.server).collect();
        let mut servers: Vec<&Server> =
            topology.shards.iter().flat_map(|shard| shard.servers().map(|(_, server)| server)).collect();
        servers.sort_by_key(|server| !reachable.contains(&server.name));
        let answering = servers.iter().take_while(|server| reachable.contains(&server.name)).count();
        let turn = self.asked.fetch_add(1, Ordering::Relaxed);
        servers[..answering].rotate_left(turn.checked_rem(answering).unwrap_or(0));
        servers
    }
}

fn used_collation(topology: &Topology, name: &str) -> Option<Arc<Collation>> {
    let tables = topology.databases.iter().flat_map(|database| database.tables.values());
    let mut columns = tables.filter_map(|table| table.columns.as_deref()).flatten();
    columns.find_map(|column| match &column.kind {
        ColumnType::Text { collation, .. } if collation.name == name => Some(Arc::clone(collation)),
        _ => None,
    })
}
