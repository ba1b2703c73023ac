//! What ships beside the binary agrees with itself: compose file, container image, MySQL's, Prometheus' and Grafana's
//! files, and the configuration they mount. Nothing is started; names, ports, paths and passwords are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;
use serde_yaml_ng::Value as Yaml;
use toml::{Table, Value as Toml};

use crate::source::{read, root, sources};

fn yaml(path: &str) -> Yaml {
    let mut value: Yaml =
        serde_yaml_ng::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    value.apply_merge().unwrap();
    value
}

fn toml(path: &str) -> Table {
    read(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn compose() -> Yaml {
    yaml("docker-compose.yml")
}

fn services(compose: &Yaml) -> BTreeMap<String, &Yaml> {
    let services = compose["services"].as_mapping().unwrap();
    services.iter().map(|(name, service)| (name.as_str().unwrap().to_owned(), service)).collect()
}

/// The strings of a YAML list; empty when there is none.
fn strings(list: &Yaml) -> Vec<&str> {
    list.as_sequence().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}

/// `environment` as names and values.
fn environment(service: &Yaml) -> BTreeMap<&str, &str> {
    let pairs = service["environment"].as_mapping().into_iter().flatten();
    pairs.map(|(name, value)| (name.as_str().unwrap(), value.as_str().unwrap())).collect()
}

fn port(table: &Table, key: &str) -> u16 {
    let address = table["listen"][key].as_str().unwrap();
    address.rsplit(':').next().unwrap().parse().unwrap()
}

fn list<'a>(table: &'a Table, key: &str) -> &'a [Toml] {
    table[key].as_array().unwrap_or_else(|| panic!("{key} is a list"))
}

#[test]
fn every_mounted_file_exists_and_every_volume_is_declared() {
    let compose = compose();
    for (name, service) in services(&compose) {
        for volume in strings(&service["volumes"]) {
            let source = volume.split(':').next().unwrap();
            match source.strip_prefix("./") {
                Some(path) => assert!(root().join(path).exists(), "{name} mounts {path}, which is not there"),
                None => {
                    assert!(
                        compose["volumes"].get(source).is_some(),
                        "{name}: volume {source} is not declared"
                    );
                }
            }
        }
        for depended in service["depends_on"].as_mapping().into_iter().flatten() {
            let depended = depended.0.as_str().unwrap();
            assert!(!compose["services"][depended].is_null(), "{name} depends on {depended}");
        }
        if let Some(image) = service["image"].as_str().filter(|_| service["build"].is_null()) {
            assert!(
                image.contains(':') && !image.ends_with(":latest"),
                "{name}: {image} has no fixed version"
            );
        }
    }
}

#[test]
fn published_ports_are_those_that_the_proxy_listens_on() {
    let compose = compose();
    let inside = toml("config/compose/shardway.toml");
    let listened: BTreeSet<u16> = ["mysql", "admin", "http"].map(|key| port(&inside, key)).into();
    let published: BTreeSet<u16> = strings(&compose["services"]["shardway"]["ports"])
        .into_iter()
        .map(|mapping| {
            assert!(mapping.starts_with("127.0.0.1:"), "{mapping} is open to the network");
            mapping.rsplit(':').next().unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(published, listened);

    let shipped = toml("config/shardway.toml");
    for key in ["mysql", "admin", "http"] {
        assert_eq!(port(&shipped, key), port(&inside, key), "listen.{key}");
    }
    assert!(
        shipped["listen"]["admin"].as_str().unwrap().starts_with("127.0.0.1:"),
        "the admin port has no TLS: loopback by default"
    );

    let dockerfile = read("Dockerfile");
    let exposed = dockerfile.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap();
    let exposed: BTreeSet<u16> = exposed.split(' ').map(|port| port.parse().unwrap()).collect();
    assert_eq!(exposed, listened, "EXPOSE");
    let checked = format!("/dev/tcp/127.0.0.1/{} ", port(&inside, "http"));
    assert!(dockerfile.contains(&checked), "HEALTHCHECK asks another port");
}

#[test]
fn the_image_runs_without_rights_and_with_the_pinned_compiler() {
    let dockerfile = read("Dockerfile");
    let last_stage = dockerfile.rsplit("\nFROM ").next().unwrap();
    assert!(last_stage.contains("\nUSER shardway\n"));
    let toolchain = toml("rust-toolchain.toml");
    let channel = toolchain["toolchain"]["channel"].as_str().unwrap();
    for line in [format!("FROM rust:{channel}-"), format!("ENV RUSTUP_TOOLCHAIN={channel}\n")] {
        assert!(dockerfile.contains(&line), "the image is not built with {channel}: {line}");
    }
    assert!(dockerfile.contains("--config\", \"/etc/shardway/shardway.toml\""));
    let mounted = strings(&compose()["services"]["shardway"]["volumes"]).concat();
    assert_eq!(mounted, "./config/compose:/etc/shardway:ro");
}

#[test]
fn the_proxy_gets_the_secrets_that_its_file_asks_for_and_the_servers_know_them() {
    let compose = compose();
    let given = environment(&compose["services"]["shardway"]);
    let settings = toml("config/compose/shardway.toml");
    let accounts = read("config/mysql/accounts.sql");
    let mut asked = BTreeSet::new();
    let logins = list(&settings, "user").iter().map(|user| (&user["name"], &user["password"], user));
    let control = &settings["control"];
    for (name, secret, user) in logins.chain([(&control["user"], &control["password"], control)]) {
        let variable = secret["env"].as_str().unwrap();
        asked.insert(variable);
        let password = given.get(variable).unwrap_or_else(|| panic!("docker-compose.yml lacks {variable}"));
        let operator = user.get("admin").and_then(Toml::as_bool) == Some(true);
        let account = format!("CREATE USER '{}'@'%' IDENTIFIED BY '{password}'", name.as_str().unwrap());
        assert!(operator || accounts.contains(&account), "accounts.sql lacks {account}");
    }
    assert_eq!(asked, given.into_keys().collect());
    let replica = read("config/mysql/replica.sh");
    for line in ["SOURCE_USER = 'replication'", "SOURCE_PASSWORD = 'replication-demo'"] {
        assert!(replica.contains(line), "replica.sh lacks {line}");
    }
    assert!(accounts.contains("CREATE USER 'replication'@'%' IDENTIFIED BY 'replication-demo'"));
}

#[test]
fn the_proxy_finds_no_fault_with_the_files_that_ship() {
    for file in ["config/compose/shardway.toml", "config/shardway.toml"] {
        let secret = |_: &str| Some("secret".to_owned());
        let faults = shardway::internal::config::faults(&root().join(file), &secret);
        assert!(faults.is_empty(), "{faults}");
    }
}

#[test]
fn the_proxy_finds_no_fault_with_the_files_of_the_readme() {
    let readme = read("README.md");
    let blocks: Vec<&str> =
        readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [settings, map] = blocks.as_slice() else { panic!("{} TOML blocks", blocks.len()) };
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&bundle, made.cert.pem()).unwrap();
    let elsewhere = "/etc/shardway/global-bundle.pem";
    assert!(map.contains(elsewhere));
    let map = map.replace(elsewhere, bundle.to_str().unwrap());
    std::fs::write(folder.path().join("shard-map.toml"), map).unwrap();
    std::fs::write(folder.path().join("shardway.toml"), settings).unwrap();
    let secret = |_: &str| Some("secret".to_owned());
    let faults = shardway::internal::config::faults(&folder.path().join("shardway.toml"), &secret);
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn the_map_names_the_servers_of_the_compose_file() {
    let compose = compose();
    let services = services(&compose);
    let map = toml("config/compose/shard-map.toml");
    let host = |server: &Toml| server.as_str().unwrap().strip_suffix(":3306").unwrap().to_owned();
    let mut named = BTreeSet::new();
    for shard in list(&map, "shard") {
        let primary = host(&shard["primary"]);
        for replica in shard["replicas"].as_array().unwrap() {
            let replica = host(replica);
            assert_eq!(
                environment(services[&replica])["SOURCE_HOST"],
                primary,
                "{replica} follows another server"
            );
            named.insert(replica);
        }
        named.insert(primary);
    }
    let servers: BTreeMap<&String, &&Yaml> =
        services.iter().filter(|(name, _)| name.starts_with("shard") && *name != "shardway").collect();
    assert_eq!(named, servers.keys().map(|name| (*name).clone()).collect());
    let ids: BTreeSet<&str> = servers.values().flat_map(|service| strings(&service["command"])).collect();
    assert_eq!(ids.len(), servers.len(), "server ids must differ: {ids:?}");
}

#[test]
fn the_sample_schema_has_the_tables_and_keys_of_the_map() {
    let map = toml("config/compose/shard-map.toml");
    let schema = read("config/mysql/schema.sql");
    let database = &list(&map, "database")[0];
    assert!(schema.contains(&format!("CREATE DATABASE {} ", database["name"].as_str().unwrap())));
    let tables = database["tables"].as_table().unwrap();
    assert_eq!(schema.matches("CREATE TABLE ").count(), tables.len());
    let sample = read("config/compose/sample.sql");
    for (name, placement) in tables {
        let definition =
            schema.split(&format!("CREATE TABLE {name} (")).nth(1).unwrap_or_else(|| panic!("{name}"));
        let definition = definition.split(");").next().unwrap();
        if let Some(key) = placement.get("shard_key").and_then(Toml::as_str) {
            let line = definition.lines().find(|line| line.trim().starts_with(&format!("{key} ")));
            assert!(line.is_some_and(|line| line.contains("NOT NULL")), "{name} has no {key}");
        }
        assert!(sample.contains(&format!("INTO {name} (")), "sample.sql loads nothing into {name}");
    }
}

#[test]
fn prometheus_scrapes_the_proxy_and_loads_the_alerts() {
    let compose = compose();
    let prometheus = yaml("config/prometheus/prometheus.yml");
    let targets = strings(&prometheus["scrape_configs"][0]["static_configs"][0]["targets"]);
    let http = port(&toml("config/compose/shardway.toml"), "http");
    assert_eq!(targets, [format!("shardway:{http}")]);
    let mounts = strings(&compose["services"]["prometheus"]["volumes"]);
    for file in strings(&prometheus["rule_files"]) {
        let mount = format!("./config/prometheus/{file}:/etc/prometheus/{file}:ro");
        assert!(mounts.contains(&mount.as_str()), "{file} is not mounted");
    }
}

#[test]
fn alerts_use_metrics_that_exist_and_say_what_to_do() {
    let known = metrics_of_the_sources();
    let alerts = yaml("config/prometheus/alerts.yml");
    let ids = shardway::internal::error::ids();
    for rule in alerts["groups"][0]["rules"].as_sequence().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        let expression = rule["expr"].as_str().unwrap();
        check_metrics(&known, name, expression);
        for annotation in ["summary", "action"] {
            assert!(rule["annotations"][annotation].is_string(), "{name} has no {annotation}");
        }
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("page" | "ticket")), "{name}");
        if let Some(id) = expression.split("id=\"").nth(1).and_then(|rest| rest.split('"').next()) {
            assert!(ids.contains(&id), "{name} watches {id}, which is not in the catalogue");
        }
    }
    let rules = root().join("config/prometheus/alerts.yml");
    match Command::new("promtool").args([Path::new("check"), Path::new("rules"), &rules]).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("promtool cannot be started ({error}): expressions are not parsed"),
    }
}

#[test]
fn the_dashboard_shows_metrics_that_exist() {
    let known = metrics_of_the_sources();
    let dashboard: Json = serde_json::from_str(&read("config/grafana/dashboards/shardway.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "panels share an id");
    let mut shown = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            shown.extend(check_metrics(&known, title, target["expr"].as_str().unwrap()));
        }
    }
    for wanted in [
        "shardway_statements_total",
        "shardway_statement_seconds",
        "shardway_errors_total",
        "shardway_pool_connections",
        "shardway_pool_waiters",
        "shardway_sessions",
        "shardway_pins_total",
        "shardway_server_up",
        "shardway_replica_lag_seconds",
        "shardway_map_version",
        "shardway_plan_cache_hits_total",
    ] {
        assert!(shown.contains(wanted), "no panel shows {wanted}");
    }
}

#[test]
fn panels_do_not_lie_on_each_other() {
    let dashboard: Json = serde_json::from_str(&read("config/grafana/dashboards/shardway.json")).unwrap();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{} is too wide", panel["title"]);
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{} covers another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn grafana_is_provisioned_with_its_source_and_dashboards() {
    let compose = compose();
    let grafana = &compose["services"]["grafana"];
    let source = yaml("config/grafana/provisioning/datasources/prometheus.yml");
    let source = &source["datasources"][0];
    assert_eq!(source["url"].as_str(), Some("http://prometheus:9090"));
    let dashboard = read("config/grafana/dashboards/shardway.json");
    let parsed: Json = serde_json::from_str(&dashboard).unwrap();
    assert_eq!(parsed["panels"][1]["datasource"]["uid"].as_str(), source["uid"].as_str());

    let provider = yaml("config/grafana/provisioning/dashboards/shardway.yml");
    let folder = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let mount = format!("./config/grafana/dashboards:{folder}:ro");
    assert!(strings(&grafana["volumes"]).contains(&mount.as_str()), "{folder} is not mounted");
    let home = environment(grafana)["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    assert_eq!(home, format!("{folder}/shardway.json"));
}

#[test]
fn the_licence_is_the_one_that_the_manifest_names() {
    let manifest = toml("Cargo.toml");
    assert_eq!(manifest["package"]["license"].as_str(), Some("Apache-2.0"));
    let licence = read("LICENSE");
    assert!(licence.contains("Apache License") && licence.contains("Version 2.0, January 2004"));
    let version = manifest["package"]["version"].as_str().unwrap();
    let changes = read("CHANGELOG.md");
    assert!(changes.contains(&format!("## {version}")), "CHANGELOG.md has no entry for {version}");
}

/// Names of metrics: string literals of the sources that begin like one.
fn metrics_of_the_sources() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources() {
        for prefix in ["\"shardway_", "\"process_"] {
            for (at, _) in source.text.match_indices(prefix) {
                let name = source.text[at + 1..].split('"').next().unwrap_or_default();
                if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
                {
                    names.insert(name.to_owned());
                }
            }
        }
    }
    assert!(names.len() > 20, "the scan found too little: {names:?}");
    names
}

/// The metrics that an expression names, each of which must be known.
fn check_metrics(known: &BTreeSet<String>, place: &str, expression: &str) -> Vec<String> {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names: Vec<String> = expression
        .split(|c| !part_of_name(c))
        .filter(|word| word.starts_with("shardway_") || word.starts_with("process_"))
        .map(|word| {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix));
            base.filter(|base| known.contains(*base)).unwrap_or(word).to_owned()
        })
        .collect();
    for name in &names {
        assert!(known.contains(name), "{place} uses {name}, which no source has");
    }
    assert!(!names.is_empty() || expression.starts_with("up"), "{place} names no metric: {expression}");
    names
}

#[test]
fn packages_of_the_driver_matrix_are_pinned_by_hash_and_name_no_registry() {
    let python = read("tests/drivers/python/requirements.txt");
    let entries: Vec<&str> = python.split("\n").filter(|line| line.contains("==")).collect();
    assert!(!entries.is_empty());
    for entry in entries {
        let hashes = python.split(entry).nth(1).unwrap();
        assert!(hashes.trim_start().starts_with("--hash=sha256:"), "{entry}");
    }
    let node: Json = serde_json::from_str(&read("tests/drivers/node/package-lock.json")).unwrap();
    for (name, package) in node["packages"].as_object().unwrap().iter().filter(|(name, _)| !name.is_empty()) {
        assert!(package["integrity"].is_string(), "{name}");
    }
    let jars = read("tests/drivers/java/jars.sha256");
    let pom = read("tests/drivers/java/pom.xml");
    let wanted: Vec<String> = pom
        .split("<artifactId>")
        .filter_map(|rest| {
            let (artifact, rest) = rest.split_once("</artifactId><version>")?;
            Some(format!("{artifact}-{}.jar", rest.split('<').next().unwrap()))
        })
        .collect();
    assert_eq!(wanted.len(), jars.lines().count());
    for jar in wanted {
        assert!(jars.lines().any(|line| line.ends_with(&format!("  {jar}"))), "{jar} has no checksum");
    }
    for file in
        ["python/requirements.txt", "node/package-lock.json", "java/pom.xml", "go/go.mod", "go/go.sum"]
    {
        let text = read(Path::new("tests/drivers").join(file));
        let named = text.lines().any(|line| {
            line.contains("://") && !line.contains("maven.apache.org/POM") && !line.contains("\"url\"")
        });
        assert!(!named, "{file} names a host");
    }
}
