//! Where programs run: a plain server and a proxy, each with databases of one program.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde_json::Value;
use shardway::internal::local::{
    Flavor, Folder, Installed, MapDatabase, MapTable, Placing, Server, Template,
};

use super::checklist::Checklist;
use super::program::Program;
use crate::support::{APP, Cluster, Proxy, SHARDS, Setup};

/// Users of one plugin each; on the proxy they are `APP` towards the servers.
const PLUGIN_USERS: [(&str, &str); 2] =
    [("native", "mysql_native_password"), ("sha2", "caching_sha2_password")];

/// Tables that applications make themselves.
const OF_APPLICATIONS: [&str; 2] = ["customers", "orders"];

/// A database of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Unsharded,
    Sharded,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Unsharded => "unsharded",
            Place::Sharded => "sharded",
        })
    }
}

/// What a program printed, by id of the behaviour; `Err` when it failed as a whole.
pub(super) type Printed = Result<BTreeMap<String, Value>, String>;

/// What one program printed on the plain server and in the places of the proxy.
pub(super) struct Compared {
    pub(super) plain: Printed,
    pub(super) proxied: Vec<(Place, Printed)>,
}

/// The servers of one flavor that all programs share.
pub(super) struct Grounds {
    cluster: Cluster,
    plain: Server,
    certificate: [String; 2],
    folder: Folder,
}

impl Grounds {
    pub(super) async fn open(program: &Installed) -> Grounds {
        let folder = Folder::create().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let files = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        std::fs::write(&files[0], made.cert.pem()).unwrap();
        std::fs::write(&files[1], made.signing_key.serialize_pem()).unwrap();
        let certificate = files.map(|file| file.display().to_string());
        let template = Template::create(program, &folder).await.unwrap();
        let options = [
            format!("--ssl-cert={}", certificate[0]),
            format!("--ssl-key={}", certificate[1]),
            "--local-infile=ON".to_owned(),
        ];
        let plain = Server::start(&template, "plain", &options.each_ref().map(String::as_str)).await.unwrap();
        plain.run(&accounts(program.flavor)).await.unwrap();
        let cluster = Cluster::own(program, SHARDS, 0).await;
        cluster.everywhere(&["SET GLOBAL local_infile = ON"]).await;
        Grounds { cluster, plain, certificate, folder }
    }

    pub(super) fn flavor(&self) -> Flavor {
        self.cluster.flavor()
    }

    /// Runs the program on the plain server and on both places of a proxy of its own.
    pub(super) async fn compare(&self, program: &Program, checklist: &Checklist) -> Compared {
        let names = [Place::Unsharded, Place::Sharded].map(|place| (place, database_name(program, place)));
        let tables = |database: &str| create(database, checklist, |_| true);
        // As long as the others: lengths of names show in answers.
        let plain = format!("{}_0", stem(program));
        self.plain.run(&tables(&plain)).await.unwrap();
        for (place, database) in &names {
            for shard in 0..SHARDS {
                let here = |table: &str| lives(*place, table, shard);
                self.cluster.primary(shard).run(&create(database, checklist, here)).await.unwrap();
            }
        }
        let proxy = Proxy::start(&self.setup(&names, checklist)).await;
        let address = SocketAddr::from(([127, 0, 0, 1], self.plain.port));
        let plain = self.run(program, address, &plain, checklist).await;
        let mut proxied = Vec::new();
        for (place, database) in &names {
            proxied.push((*place, self.run(program, proxy.mysql, database, checklist).await));
        }
        Compared { plain, proxied }
    }

    async fn run(
        &self,
        program: &Program,
        address: SocketAddr,
        database: &str,
        checklist: &Checklist,
    ) -> Printed {
        let file = self.folder.path().join(format!("{database}.json"));
        let files = self.folder.path().join(format!("{database}.files"));
        std::fs::create_dir(&files).unwrap();
        std::fs::write(&file, checklist.for_database(database, &files)).unwrap();
        program.run(address, database, &file).await
    }

    fn setup(&self, names: &[(Place, String)], checklist: &Checklist) -> Setup {
        let mut setup = Setup::new(&self.cluster);
        for (place, name) in names {
            let names = checklist.tables.keys().map(String::as_str).chain(OF_APPLICATIONS);
            let listed = names.filter(|_| *place == Place::Sharded);
            let tables =
                listed.map(|table| MapTable { name: table.to_owned(), placing: placing(table) }).collect();
            let default_shard = Some("shard1".to_owned());
            setup.map.databases.push(MapDatabase { name: name.clone(), default_shard, tables });
        }
        for (user, plugin) in PLUGIN_USERS {
            setup = setup.settings(&format!(
                "[[user]]\nname = \"{user}\"\nplugin = \"{plugin}\"\npassword = \"{1}\"\n\
                 server_user = \"{0}\"\nserver_password = \"{1}\"",
                APP.0, APP.1
            ));
        }
        let [certificate, key] = &self.certificate;
        setup.settings(&format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}"))
    }
}

/// Where a table of the sharded database is.
fn placing(table: &str) -> Placing {
    let by = |key: &str| Placing::Sharded { scheme: "by_key".to_owned(), key: key.to_owned() };
    match table {
        "parts" => by("item"),
        "orders" => by("customer_id"),
        "log" => Placing::Single { shard: "shard2".to_owned() },
        "countries" => Placing::Reference,
        _ => by("id"),
    }
}

/// Whether a shard, counted from 0, has the table.
fn lives(place: Place, table: &str, shard: usize) -> bool {
    match (place, placing(table)) {
        (Place::Unsharded, _) => shard == 0,
        (Place::Sharded, Placing::Single { shard: name }) => name == format!("shard{}", shard + 1),
        (Place::Sharded, Placing::Sharded { .. } | Placing::Reference) => true,
    }
}

fn create(database: &str, checklist: &Checklist, here: impl Fn(&str) -> bool) -> Vec<String> {
    let mut statements = vec![format!("CREATE DATABASE `{database}`")];
    let tables = checklist.tables.iter().filter(|(table, _)| here(table));
    statements.extend(
        tables.map(|(table, definition)| format!("CREATE TABLE `{database}`.`{table}` {definition}")),
    );
    statements
}

fn accounts(flavor: Flavor) -> Vec<String> {
    let mut statements = Vec::new();
    for user in [APP.0].into_iter().chain(PLUGIN_USERS.map(|(user, _)| user)) {
        // MySQL 9 has no mysql_native_password and MariaDB no caching_sha2_password: the default plugin of each.
        statements.push(format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{}'", APP.1));
        statements.push(format!("GRANT ALL PRIVILEGES ON *.* TO '{user}'@'%'"));
    }
    match flavor {
        Flavor::MariaDb | Flavor::MySql => statements,
    }
}

fn stem(program: &Program) -> String {
    format!("d_{}", program.name.replace(['-', ' '], "_"))
}

fn database_name(program: &Program, place: Place) -> String {
    let last = match place {
        Place::Unsharded => 1,
        Place::Sharded => 2,
    };
    format!("{}_{last}", stem(program))
}
