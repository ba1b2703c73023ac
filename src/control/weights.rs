//! Weights of texts for sessions: what a server says, kept in a bounded cache.

use std::sync::Arc;

use quick_cache::sync::Cache;
use tokio::sync::watch;

use super::client::Client;
use super::collation::{self, Collations};
use super::error::ControlError;
use crate::config::Settings;
use crate::topology::{Collation, ColumnType, Server, TopologyHandle};

/// Texts whose weights are remembered.
const CACHED_MAX: usize = 65_536;
/// Texts in one question to a server.
const TEXTS_AT_ONCE: usize = 256;
/// Questions to servers under way at once.
const QUESTIONS_MAX: usize = 8;

/// Collation name, character set of the text, text.
type CacheKey = (String, String, Vec<u8>);

/// Asks servers how texts compare.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    topology: TopologyHandle,
    settings: watch::Receiver<Arc<Settings>>,
    collations: Arc<Collations>,
    cache: Arc<Cache<CacheKey, Arc<Vec<u8>>>>,
    questions: Arc<tokio::sync::Semaphore>,
}

impl Weights {
    pub(super) fn new(
        topology: TopologyHandle,
        settings: watch::Receiver<Arc<Settings>>,
        collations: Arc<Collations>,
    ) -> Weights {
        let questions = Arc::new(tokio::sync::Semaphore::new(QUESTIONS_MAX));
        Weights { topology, settings, collations, cache: Arc::new(Cache::new(CACHED_MAX)), questions }
    }

    /// The weights of `texts`, written in `charset`, under `collation`, in the same order, as they stand in keys (without
    /// padding). Takes at most the probe timeout for connecting to each server tried and for each question. Cancel safe.
    pub(crate) async fn learn(
        &self,
        collation: &str,
        charset: &str,
        texts: &[Vec<u8>],
    ) -> Result<Vec<Vec<u8>>, ControlError> {
        let key = |text: &Vec<u8>| (collation.to_owned(), charset.to_owned(), text.clone());
        let missing: Vec<Vec<u8>> =
            texts.iter().filter(|text| self.cache.get(&key(text)).is_none()).cloned().collect();
        let mut learned = std::collections::HashMap::new();
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
        let servers: Vec<&Server> =
            topology.shards.iter().flat_map(|shard| shard.servers().map(|(_, server)| server)).collect();
        'servers: for server in servers {
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
                        if matches!(error, ControlError::Query { .. } | ControlError::Name { .. }) {
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
}

fn used_collation(topology: &crate::topology::Topology, name: &str) -> Option<Arc<Collation>> {
    let tables = topology.databases.iter().flat_map(|database| database.tables.values());
    let mut columns = tables.filter_map(|table| table.columns.as_deref()).flatten();
    columns.find_map(|column| match &column.kind {
        ColumnType::Text { collation, .. } if collation.name == name => Some(Arc::clone(collation)),
        _ => None,
    })
}
