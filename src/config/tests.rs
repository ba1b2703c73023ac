//! The shipped files, and files with many faults: each must be found at its place.

use std::path::{Path, PathBuf};

use super::map::parse_points;
use super::*;

/// A folder with the files given, and what loading the first of them says.
fn load_files(files: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let settings = folder.path().join(files[0].0);
    load_with(&settings, &environment).map_err(|faults| {
        let prefix = format!("{}/", folder.path().display());
        faults.0.iter().map(|fault| fault.to_string().replace(&prefix, "")).collect()
    })
}

fn environment(name: &str) -> Option<String> {
    name.ends_with("_PASSWORD").then(|| format!("secret of {name}"))
}

const SETTINGS: &str = "
[[user]]
name = 'u'
password = 'p'
[control]
user = 'c'
password = 'p'
";

const MAP: &str = "
version = 1
[[shard]]
name = 's1'
primary = 'h1:3306'
[[shard]]
name = 's2'
primary = 'h2:3306'
";

fn check_map(map: &str, expected: &[&str]) {
    let faults = load_files(&[("s.toml", SETTINGS), ("shard-map.toml", map)]).err().unwrap_or_default();
    assert_eq!(faults, expected);
}

fn check_settings(settings: &str, expected: &[&str]) {
    let faults = load_files(&[("s.toml", settings), ("shard-map.toml", MAP)]).err().unwrap_or_default();
    assert_eq!(faults, expected);
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

#[test]
fn the_shipped_files_are_valid() {
    let loaded = load_with(&shipped("shardway.toml"), &environment).unwrap();
    assert_eq!(loaded.settings.users["shop"].server.password, "secret of SHOP_PASSWORD");
    assert_eq!(loaded.map.shards.len(), 2);
    assert_eq!(loaded.map.databases[0].tables.len(), 6);
}

#[test]
fn the_shipped_settings_show_the_defaults() {
    let mut shipped = load_with(&shipped("shardway.toml"), &environment).unwrap().settings;
    let least = load_files(&[("s.toml", SETTINGS), ("shard-map.toml", MAP)]).unwrap().settings;
    shipped.users = least.users.clone();
    shipped.control.credential = least.control.credential.clone();
    shipped.map = least.map.clone();
    assert_eq!(shipped, least);
}

#[test]
fn every_fault_of_a_map_is_told_at_its_place() {
    check_map(
        "
version = 0
colour = 'blue'
[tls]
mode = 'verify'
[[shard]]
name = 's1'
primary = 'h1:3306'
replicas = ['H1:3306', 'h3:70000']
[[shard]]
name = 's1'
[[scheme]]
name = 'a'
ranges = [
  { range = '-40', shard = 's1' },
  { range = '30-80', shard = 's1' },
  { range = 'c0-', shard = 's9' },
]
[[scheme]]
name = 'b'
function = 'mod'
[[scheme]]
name = 'c'
function = 'md5-mod'
[[scheme]]
name = 'd'
function = 'md5_mod'
buckets = 0
[[database]]
name = 'shop'
default_shard = 's3'
[database.tables]
orders = { scheme = 'aa', shard_keys = 'id' }
Orders = 'referenced'
lines = { shard = 's1', shard_key = 'id' }
",
        &[
            "shard-map.toml:2:11: \"version\" is 0, out of bounds; write an integer from 1 to 9223372036854775807",
            "shard-map.toml:3:1: unknown key \"colour\"; the file knows: version, tls, shard, scheme, database",
            "shard-map.toml:5:8: unknown TLS mode \"verify\"; did you mean \"verify-ca\"?",
            "shard-map.toml:9:13: a second server \"H1:3306\", the first is in line 8; rename or remove one of them",
            "shard-map.toml:9:24: \"h3:70000\" is not the address of a server; write \"host:port\"",
            "shard-map.toml:10:1: a [[shard]] has no \"primary\"; add primary = \"host:port\"",
            "shard-map.toml:11:8: a second shard \"s1\", the first is in line 7; rename or remove one of them",
            "shard-map.toml:14:10: no shard owns 80-c0; give it to a shard, or write allow_gaps = true to refuse its \
             keys",
            "shard-map.toml:16:3: 30-40 has two owners; let every range begin where another ends",
            "shard-map.toml:17:28: unknown shard \"s9\"; did you mean \"s1\"?",
            "shard-map.toml:19:1: a [[scheme]] has no \"buckets\"; add buckets = 1024: mod needs their number",
            "shard-map.toml:24:12: unknown key function \"md5-mod\"; did you mean \"md5_mod\"?",
            "shard-map.toml:28:11: \"buckets\" is 0, out of bounds; write an integer from 1 to 4294967296",
            "shard-map.toml:31:17: unknown shard \"s3\"; did you mean \"s1\"?",
            "shard-map.toml:33:10: table \"orders\" has no \"shard_key\"; add shard_key = \"the column that decides\"",
            "shard-map.toml:33:21: table \"orders\" has the unknown scheme \"aa\"; did you mean \"a\"?",
            "shard-map.toml:33:27: unknown key \"shard_keys\"; did you mean \"shard_key\"?",
            "shard-map.toml:34:1: a second table \"Orders\", the first is in line 33; rename or remove one of them",
            "shard-map.toml:34:10: table \"Orders\" is \"referenced\"; write { scheme = \"…\", shard_key = \"…\" }, \
             \"reference\" or { shard = \"…\" }",
            "shard-map.toml:35:9: table \"lines\" is both sharded and on a single shard; write { scheme = \"…\", \
             shard_key = \"…\" }, \"reference\" or { shard = \"…\" }",
        ],
    );
}

#[test]
fn every_fault_of_the_settings_is_told_at_its_place() {
    check_settings(
        "
workers = 'many'
[listen]
mysql = '0.0.0.0:6033'
admin = '127.0.0.1:6033'
http = 'localhost'
[tls]
certificate = 'missing.pem'
[[user]]
name = 'a'
password = { env = 'NOT_THERE' }
plugin = 'sha2'
[[user]]
name = 'a'
password_hash = '*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4'
databases = ['shop']
[[user]]
name = 'b'
password = 'x'
password_hash = 'y'
server_user = 'z'
[pool]
idle_min = 10
connections_max = 5
borrow_timeout = 5
conections_max = 5
[limits]
packet_bytes_max = '2GiB'
[control]
user = 'c'
password = { file = 'missing' }
[log]
filter = 'shardway=loud'
",
        &[
            "s.toml:2:11: \"workers\" is a string; write an integer from 0 to 1024",
            "s.toml:5:9: admin and mysql both listen on port 6033; give each its own port",
            "s.toml:6:8: \"localhost\" is not an address to listen on; write \"IP:port\", such as \"0.0.0.0:6033\", \
             or \"off\"",
            "s.toml:7:1: [tls] has no \"key\"; add key = \"path of a PEM file\"",
            "s.toml:8:15: cannot read the certificate missing.pem: I/O error: No such file or directory (os error 2); name a \
             readable PEM file with the certificate chain",
            "s.toml:11:20: the environment has no NOT_THERE; set NOT_THERE before starting the proxy",
            "s.toml:12:10: unknown plugin \"sha2\"; there is: mysql_native_password, caching_sha2_password",
            "s.toml:13:1: a [[user]] has no \"server_password\"; add server_password = { env = \"NAME\" }: the proxy \
             cannot log in to the servers with a hash",
            "s.toml:14:8: a second user \"a\", the first is in line 10; rename or remove one of them",
            "s.toml:16:14: the map has no database \"shop\"; there is no [[database]] yet",
            "s.toml:20:17: both \"password\" and \"password_hash\"; remove one of them",
            "s.toml:21:15: \"server_user\" without \"server_password\"; add server_password = …",
            "s.toml:23:12: \"idle_min\" is 10, more than \"connections_max\"; write at most 5",
            "s.toml:25:18: \"borrow_timeout\" is an integer; write a time with its unit, such as \"250ms\", \"5s\", \
             \"10m\", \"1h\"",
            "s.toml:26:1: unknown key \"conections_max\"; did you mean \"connections_max\"?",
            "s.toml:28:20: \"packet_bytes_max\" is 2147483648 bytes, out of bounds; write from 1024 to 1073741824 bytes",
            "s.toml:31:21: cannot read the secret in missing: No such file or directory (os error 2); correct the \
             path or the file's rights",
            "s.toml:33:10: \"shardway=loud\" is not a log filter: error parsing level filter: expected one of \"off\", \
             \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5; write a level, or \
             \"info,shardway::backend=debug\"",
        ],
    );
}

#[test]
fn a_syntax_error_is_one_fault_at_its_place() {
    check_map(
        "version = 1\n[[shard]\nname = 's1'\n",
        &["shard-map.toml:2:9: unclosed array table, expected `]`; correct the TOML syntax here"],
    );
}

#[test]
fn gaps_and_overlaps_of_ordered_schemes_are_printed() {
    let with = |scheme: &str| format!("{MAP}[[scheme]]\nname = 'x'\n{scheme}");
    let range = "function = 'range'\nranges = [{ to = 10, shard = 's1' }, { from = 20, to = 30, shard = 's2' },\n\
                 { from = 25, shard = 's1' }]";
    check_map(
        &with(range),
        &[
            "shard-map.toml:12:10: no shard owns the keys 10..20; give it to a shard, or write allow_gaps = true to \
             refuse its keys",
            "shard-map.toml:13:1: the keys 25..30 have two owners; let every range begin where another ends",
        ],
    );
    let buckets = "function = 'mod'\nbuckets = 8\nranges = [{ buckets = '0-3', shard = 's1' }, { buckets = '5', shard = 's2' }]";
    check_map(
        &with(buckets),
        &[
            "shard-map.toml:13:10: no shard owns the buckets 4-4; give it to a shard, or write allow_gaps = true to \
             refuse its keys",
            "shard-map.toml:13:10: no shard owns the buckets 6-7; give it to a shard, or write allow_gaps = true to \
             refuse its keys",
        ],
    );
    check_map(&with(&format!("allow_gaps = true\n{buckets}")), &[]);
}

#[test]
fn a_fault_prints_its_line_with_a_caret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.toml");
    std::fs::write(&file, format!("{MAP}[[database]]\nname = 'é'\ndefault_shard = 's9'\n")).unwrap();
    let faults = load_map(&file).unwrap_err();
    let pretty = faults.0[0].pretty();
    let lines: Vec<&str> = pretty.lines().skip(1).collect();
    assert_eq!(
        lines,
        [" 11 | default_shard = 's9'", "    |                 ^^^^", "   = did you mean \"s1\"?"]
    );
}

#[test]
fn files_that_are_not_there_are_faults() {
    let faults = load(Path::new("/nowhere/shardway.toml")).unwrap_err();
    assert!(faults.to_string().starts_with("/nowhere/shardway.toml: cannot read the file"), "{faults}");
}

#[test]
fn a_reload_is_told_as_what_changes() {
    let files =
        |map: &str, settings: &str| load_files(&[("s.toml", settings), ("shard-map.toml", map)]).unwrap();
    let scheme = |ranges: &str| {
        format!(
            "{MAP}[[scheme]]\nname = 'x'\nranges = {ranges}\n[[database]]\nname = 'shop'\ntables = {{ t = 'reference' }}\n"
        )
    };
    let mut old =
        files(&scheme("[{ range = '-80', shard = 's1' }, { range = '80-', shard = 's2' }]"), SETTINGS);
    let map = scheme("[{ range = '-40', shard = 's1' }, { range = '40-', shard = 's3' }]")
        .replace("version = 1", "version = 2\n[[shard]]\nname = 's3'\nprimary = 'h3'")
        .replace("t = 'reference'", "u = 'reference'");
    let new =
        files(&map, &format!("workers = 3\n{}\n[limits]\nclients_max = 7\n", SETTINGS.replace("'p'", "'q'")));
    old.settings.map = new.settings.map.clone();
    assert_eq!(
        difference(&old, &new),
        [
            "workers is now 3 (was 0); applies after a restart",
            "limits.clients_max is now 7 (was 10000)",
            "control.password changed",
            "user u changed",
            "map version is now 2 (was 1)",
            "shard s3 added",
            "range 40-80 of x moves from s1 to s3",
            "range 80- of x moves from s2 to s3",
            "table shop.t removed",
            "table shop.u added",
        ]
    );
    assert_eq!(difference(&old, &old), [""; 0]);
}

#[test]
fn content_hash_ignores_order_and_version() {
    let one = load_files(&[("s.toml", SETTINGS), ("shard-map.toml", MAP)]).unwrap().map;
    let mut other = one.clone();
    other.version = 9;
    other.shards.reverse();
    assert_eq!(one.content_hash(), other.content_hash());
    other.shards[0].primary.port = 3307;
    assert_ne!(one.content_hash(), other.content_hash());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-z0-9\\[\\]{}='\", \n\\-é.#]{0,120}") {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.toml");
        std::fs::write(&file, &text).unwrap();
        if let Err(faults) = load_map(&file) {
            proptest::prop_assert!(!faults.0.is_empty());
            proptest::prop_assert!(faults.0.iter().all(|fault| !fault.pretty().is_empty()));
        }
    }

    #[test]
    fn printed_points_read_back(first in proptest::num::u64::ANY, last in proptest::num::u64::ANY) {
        let (first, last) = (first.min(last), first.max(last));
        proptest::prop_assert_eq!(parse_points(&print_points(first, last)), Some((first, last)));
    }
}

#[test]
fn a_key_of_another_certificate_is_a_fault() {
    let make = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (one, other) = (make(), make());
    let settings = format!("{SETTINGS}[tls]\ncertificate = 'cert.pem'\nkey = 'key.pem'\n");
    let load = |key: String| {
        load_files(&[
            ("s.toml", &settings),
            ("shard-map.toml", MAP),
            ("cert.pem", &one.cert.pem()),
            ("key.pem", &key),
        ])
    };
    assert!(load(one.signing_key.serialize_pem()).is_ok());
    let faults = load(other.signing_key.serialize_pem()).unwrap_err();
    assert!(faults[0].starts_with("s.toml:10:7: the key key.pem and the certificate cert.pem"), "{faults:?}");
}
