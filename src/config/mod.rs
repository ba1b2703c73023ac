//! Two files to validated settings and a map, or to all their faults at once. Everything behind this module receives
//! its own settings struct; none reads files.

mod difference;
mod fault;
mod listen_file;
mod load;
mod map;
mod map_file;
mod network;
mod read;
mod scheme_file;
mod secret;
mod settings;
mod settings_file;
mod user_file;

pub(crate) use difference::difference;
pub(crate) use fault::{Fault, Faults};
pub(crate) use load::{Loaded, load, load_map, load_with};
pub(crate) use map::{
    Map, MapFunction, MapKey, MapPart, MapPlacement, MapScheme, MapServer, MapTls, SHARDS_MAX, print_points,
};
#[cfg(test)]
pub(crate) use map::{MapDatabase, MapPlacing, MapShard, MapTable};
pub(crate) use network::Network;
pub(crate) use settings::{
    AuthPlugin, CertificateNames, ClientCertificates, ClientTls, CompressionOffer, ControlSettings,
    Credential, LogFormat, LogSettings, PasswordProof, PoolSettings, ReadConsistency, Requirement, Settings,
    TransactionMode, User,
};
#[cfg(test)]
pub(crate) use settings::{Limits, Listen, TransactionSettings};

#[cfg(test)]
mod tests;
