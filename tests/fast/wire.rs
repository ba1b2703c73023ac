//! Transcripts of logins, played over memory against the proxy's own gate; and strangers' bytes.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use bytes::BytesMut;
use proptest::prelude::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer};
use shardway::internal::login::{Door, Entered, Guest, House, Proof, Refused};
use shardway::internal::wire::{
    AuthSwitch, Boundary, CapabilityFlags, Channel, ClientAuth, ClientStep, ColumnDefinition, ColumnKind,
    ErrPacket, Framer, Greeting, LoginRequest, RowFormat, StatusFlags, TextResult, encode_packet,
    native_hash, sha2_crypt, sha2_crypt_text, ssl_request,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

const LIMIT: Duration = Duration::from_secs(20);

/// What a client is started with.
#[derive(Clone)]
struct Options {
    user: &'static str,
    password: &'static str,
    /// The plugin that the client insists on; `None` follows the greeting.
    plugin: Option<&'static str>,
    database: Option<&'static str>,
    tls: bool,
    flags: CapabilityFlags,
    /// Sent right behind the login packet.
    pipelined: &'static [u8],
}

fn options(user: &'static str, password: &'static str) -> Options {
    let flags = CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_CONNECT_ATTRS
        | CapabilityFlags::CLIENT_DEPRECATE_EOF
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;
    Options { user, password, plugin: None, database: None, tls: false, flags, pipelined: b"" }
}

/// The packets that a client saw, in words.
type Transcript = Vec<String>;

struct Client<S> {
    stream: S,
    framer: Framer,
    received: BytesMut,
    transcript: Transcript,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn packet(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(payload) = self.framer.take(&mut self.received).unwrap() {
                return Some(payload.to_vec());
            }
            if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn send(&mut self, payload: &[u8]) {
        let mut packet = Vec::new();
        encode_packet(payload, self.framer.sequence_mut(), &mut packet);
        // A server that refused may have closed already; what it said is read next.
        let _sent = self.stream.write_all(&packet).await;
        let _flushed = self.stream.flush().await;
    }

    async fn authenticate(mut self, greeting: Greeting, options: &Options) -> Transcript {
        let channel = if options.tls { Channel::Encrypted } else { Channel::Open };
        let plugin = options.plugin.unwrap_or(&greeting.plugin);
        let mut auth = ClientAuth::new(plugin, &greeting.scramble, options.password.as_bytes(), channel);
        let mut capabilities = options.flags & greeting.capabilities;
        capabilities.set(CapabilityFlags::CLIENT_CONNECT_WITH_DB, options.database.is_some());
        let request = LoginRequest {
            capabilities,
            packet_bytes_max: 1 << 24,
            collation: 45,
            user: options.user.into(),
            auth_response: auth.response(),
            database: options.database.map(Into::into),
            plugin: Some(plugin.into()),
            attributes: vec![(b"program_name".to_vec(), b"test".to_vec())],
            zstd_level: None,
        };
        self.send(&request.encode()).await;
        self.stream.write_all(options.pipelined).await.unwrap();
        while let Some(payload) = self.packet().await {
            self.transcript.push(in_words(&payload));
            match auth.receive(&payload).unwrap() {
                ClientStep::Send(answer) => self.send(&answer).await,
                ClientStep::Wait => {}
                ClientStep::Encrypt { public_key_pem, message } => {
                    self.send(&encrypt(&public_key_pem, &message)).await;
                }
                ClientStep::Done(_) | ClientStep::Refused(_) => return self.transcript,
                ClientStep::Unsupported(what) => panic!("{what}"),
            }
        }
        self.transcript.push("end".into());
        self.transcript
    }
}

fn in_words(payload: &[u8]) -> String {
    match payload {
        [0x00, ..] => "OK".into(),
        [0x01, 3] => "fast".into(),
        [0x01, 4] => "full".into(),
        [0x01, key @ ..] if key.starts_with(b"-----BEGIN PUBLIC KEY") => "key".into(),
        [0xFE, ..] => format!("switch to {}", AuthSwitch::decode(payload).unwrap().plugin),
        [0xFF, ..] => ErrPacket::decode(payload).unwrap().to_string(),
        other => format!("{other:?}"),
    }
}

fn encrypt(pem: &[u8], message: &[u8]) -> Vec<u8> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).unwrap();
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&der).unwrap()).unwrap();
    let mut out = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA1_MGF1SHA1, message, &mut out, None).unwrap();
    out
}

async fn play_client(
    stream: DuplexStream,
    options: &Options,
    trust: Option<Arc<rustls::ClientConfig>>,
) -> Transcript {
    let mut client =
        Client { stream, framer: Framer::new(1 << 20), received: BytesMut::new(), transcript: Vec::new() };
    let greeting = Greeting::decode(&client.packet().await.unwrap()).unwrap();
    let Some(trust) = trust.filter(|_| options.tls) else {
        return client.authenticate(greeting, options).await;
    };
    assert!(greeting.capabilities.contains(CapabilityFlags::CLIENT_SSL));
    client.send(&ssl_request(options.flags, 1 << 24, 45)).await;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(trust).connect(name, client.stream).await.unwrap();
    let inside = Client { stream, framer: client.framer, received: client.received, transcript: Vec::new() };
    inside.authenticate(greeting, options).await
}

/// Plays one login; what the client saw and what the proxy concluded.
async fn play(
    door: &Door,
    options: &Options,
    trust: Option<Arc<rustls::ClientConfig>>,
) -> (Transcript, Result<Entered, Refused>) {
    let (near, far) = duplex(1 << 16);
    tokio::join!(play_client(near, options, trust), door.log_in(far, LIMIT))
}

/// Logs in and expects the transcript.
async fn check(door: &Door, options: Options, expected: &[&str]) {
    let (transcript, _) = play(door, &options, None).await;
    assert_eq!(transcript, expected, "{} with {:?}", options.user, options.plugin);
}

fn sha2(password: &[u8]) -> Proof {
    let salt = b"01234567890123456789".to_vec();
    let digest = sha2_crypt_text(&sha2_crypt(password, &salt, 1000)).to_vec();
    Proof::Sha2 { rounds: 1000, salt, digest }
}

fn house() -> House {
    let guest = |name, proof| Guest { name, proof, databases: None };
    House {
        guests: vec![
            guest("plain", Proof::Plain("secret")),
            guest("native", Proof::Native(native_hash(b"secret"))),
            guest("sha2", sha2(b"secret")),
            guest("empty", Proof::Plain("")),
            Guest { databases: Some(vec!["shop".into()]), ..guest("clerk", Proof::Plain("secret")) },
        ],
        version: "8.4.6".into(),
        deprecate_eof: true,
        databases: vec!["shop".into(), "billing".into()],
        ..House::default()
    }
}

const SHA2: Option<&str> = Some("caching_sha2_password");
const NATIVE: Option<&str> = Some("mysql_native_password");

#[tokio::test]
async fn both_plugins_log_in_and_switch_where_the_secret_demands_it() {
    let door = Door::new(house());
    let with = |user, plugin| Options { plugin, ..options(user, "secret") };
    check(&door, with("plain", SHA2), &["fast", "OK"]).await;
    check(&door, with("plain", NATIVE), &["OK"]).await;
    check(&door, with("native", NATIVE), &["OK"]).await;
    check(&door, with("native", SHA2), &["switch to mysql_native_password", "OK"]).await;
    check(&door, with("sha2", NATIVE), &["switch to caching_sha2_password", "full", "key", "OK"]).await;
    check(&door, with("plain", Some("dialog")), &["switch to caching_sha2_password", "fast", "OK"]).await;
    check(&door, options("empty", ""), &["OK"]).await;
}

#[tokio::test]
async fn a_full_exchange_by_rsa_makes_the_next_login_fast() {
    let mut door = Door::new(house());
    check(&door, options("sha2", "secret"), &["full", "key", "OK"]).await;
    check(&door, options("sha2", "secret"), &["fast", "OK"]).await;
    // What was learned lasts over a reload, unless the password changed.
    door.refurbish(house());
    check(&door, options("sha2", "secret"), &["fast", "OK"]).await;
    let mut changed = house();
    changed.guests[2].proof = sha2(b"new");
    door.refurbish(changed);
    let denied = "1045 (28000): Access denied for user 'sha2'@'127.0.0.1' (using password: YES)";
    check(&door, options("sha2", "secret"), &["full", "key", denied]).await;
}

#[tokio::test]
async fn a_wrong_password_is_denied_with_mysqls_words() {
    let door = Door::new(house());
    let denied = |user: &str, used: &str| {
        format!("1045 (28000): Access denied for user '{user}'@'127.0.0.1' (using password: {used})")
    };
    // A scramble that is not right is no denial yet: the password itself is asked for, as servers do it.
    check(&door, options("plain", "wrong"), &["full", "key", &denied("plain", "YES")]).await;
    // No answer yet may mean a client that waits for a challenge for its plugin: it is asked once.
    let switch = "switch to caching_sha2_password";
    check(&door, options("plain", ""), &[switch, &denied("plain", "NO")]).await;
    check(&door, options("empty", "x"), &["full", "key", &denied("empty", "YES")]).await;
    let native = Options { plugin: NATIVE, ..options("native", "wrong") };
    check(&door, native, &[&denied("native", "YES")]).await;
}

#[tokio::test]
async fn an_unknown_user_cannot_be_told_from_a_wrong_password() {
    for guest in house().guests.into_iter().take(3) {
        let known = guest.name;
        let door = Door::new(House { guests: vec![guest], ..house() });
        for plugin in [None, SHA2, NATIVE, Some("dialog")] {
            let (of_known, _) = play(&door, &Options { plugin, ..options(known, "wrong") }, None).await;
            let (of_nobody, ending) =
                play(&door, &Options { plugin, ..options("nobody", "wrong") }, None).await;
            let quoted = |name| format!("'{name}'@");
            let of_known: Transcript =
                of_known.iter().map(|line| line.replace(&quoted(known), &quoted("nobody"))).collect();
            assert_eq!(of_known, of_nobody);
            assert_eq!(ending.unwrap_err(), Refused::Told(1045));
        }
    }
}

#[tokio::test]
async fn a_database_is_checked_before_the_login_succeeds() {
    let door = Door::new(house());
    let into = |user, database| Options { database: Some(database), ..options(user, "secret") };
    check(&door, into("plain", "shop"), &["fast", "OK"]).await;
    check(&door, into("plain", "nowhere"), &["fast", "1049 (42000): Unknown database 'nowhere'"]).await;
    check(&door, into("clerk", "shop"), &["fast", "OK"]).await;
    let denied = "1044 (42000): Access denied for user 'clerk'@'127.0.0.1' to database 'billing'";
    check(&door, into("clerk", "billing"), &["fast", denied]).await;
}

/// A house with a certificate, and the client's trust in it.
fn tls_house() -> (House, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (House { tls: Some(Arc::new(server)), ..house() }, Arc::new(client))
}

#[tokio::test]
async fn inside_tls_the_full_exchange_needs_no_key() {
    let (house, trust) = tls_house();
    let door = Door::new(house);
    for (user, expected) in [("sha2", &["full", "OK"][..]), ("plain", &["fast", "OK"])] {
        let options = Options { tls: true, database: Some("shop"), ..options(user, "secret") };
        let (transcript, entered) = play(&door, &options, Some(Arc::clone(&trust))).await;
        assert_eq!(transcript, expected);
        let entered = entered.unwrap();
        assert!(entered.encrypted);
        assert_eq!(entered.database.as_deref(), Some("shop"));
    }
}

#[tokio::test]
async fn where_tls_is_required_a_login_in_the_clear_is_refused_before_the_password() {
    let (house, trust) = tls_house();
    let door = Door::new(House { tls_required: true, ..house });
    let (transcript, refused) = play(&door, &options("plain", "secret"), None).await;
    assert_eq!(refused.unwrap_err(), Refused::Told(3159));
    assert!(transcript[0].starts_with("3159 (HY000): SW1005"), "{transcript:?}");
    let inside = Options { tls: true, ..options("plain", "secret") };
    assert!(play(&door, &inside, Some(trust)).await.1.is_ok());
}

#[tokio::test]
async fn what_is_sent_in_the_clear_behind_the_request_for_tls_is_not_taken_for_tls() {
    let (house, _) = tls_house();
    let door = Door::new(house);
    let (mut near, far) = duplex(1 << 16);
    let mut sent = Vec::new();
    let mut sequence = 1;
    encode_packet(&ssl_request(options("", "").flags, 1 << 24, 45), &mut sequence, &mut sent);
    encode_packet(b"injected", &mut sequence, &mut sent);
    near.write_all(&sent).await.unwrap();
    let stranger = async {
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
    };
    let ((), refused) = tokio::join!(stranger, door.log_in(far, LIMIT));
    assert_eq!(refused.unwrap_err(), Refused::Silent);
}

#[tokio::test]
async fn the_login_tells_what_was_negotiated_and_keeps_early_commands() {
    for deprecate_eof in [false, true] {
        let door = Door::new(House { deprecate_eof, ..house() });
        let pipelined: &[u8; 5] = b"\x01\x00\x00\x00\x0e";
        let options = Options { pipelined, plugin: NATIVE, ..options("plain", "secret") };
        let (_, entered) = play(&door, &options, None).await;
        let entered = entered.unwrap();
        let flags = CapabilityFlags::from_bits_retain(entered.capabilities);
        assert_eq!(flags.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF), deprecate_eof);
        assert_eq!((entered.user.as_str(), entered.collation_id), ("plain", 45));
        assert_eq!(entered.attributes, [("program_name".to_owned(), "test".to_owned())]);
        let mut command = [0; 5];
        entered.received.chain(entered.stream).read_exact(&mut command).await.unwrap();
        assert_eq!(&command, pipelined);
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_given_up_at_the_deadline() {
    let door = Door::new(house());
    let (_silent, far) = duplex(1 << 16);
    assert_eq!(door.log_in(far, Duration::from_millis(20)).await.unwrap_err(), Refused::Timeout);
}

#[test]
fn local_results_end_as_negotiated() {
    let result = TextResult {
        columns: vec![ColumnDefinition::local("shard", ColumnKind::Text, 45)],
        rows: vec![vec![Some(b"s1".to_vec())], vec![None]],
    };
    for deprecate_eof in [false, true] {
        let mut flags = CapabilityFlags::empty();
        flags.set(CapabilityFlags::CLIENT_DEPRECATE_EOF, deprecate_eof);
        let (mut out, mut sequence) = (Vec::new(), 1);
        let status = StatusFlags::SERVER_STATUS_AUTOCOMMIT;
        result.encode(flags, RowFormat::Text, status, &mut sequence, &mut out);
        let mut boundary = Boundary::query(deprecate_eof);
        let progress = boundary.advance(&out).unwrap();
        assert!(progress.ended && progress.used == out.len());
        assert_eq!((boundary.outcome().rows, boundary.outcome().columns), (2, 1));
        assert_eq!(usize::from(sequence), if deprecate_eof { 6 } else { 7 });
    }
}

/// Sends `bytes` to a door, whatever it answers, and ends.
async fn throw(door: &Door, bytes: &[u8]) -> Result<Entered, Refused> {
    let (mut near, far) = duplex(1 << 20);
    let stranger = async {
        near.write_all(bytes).await.unwrap();
        near.shutdown().await.unwrap();
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
    };
    let ((), ending) = tokio::join!(stranger, door.log_in(far, LIMIT));
    ending
}

/// A login as a client sends it, for a challenge that is never the door's.
fn stale_login(user: &str, plugin: &str) -> Vec<u8> {
    let flags = options("", "").flags | CapabilityFlags::CLIENT_CONNECT_WITH_DB;
    let auth = ClientAuth::new(plugin, b"abcdefghijklmnopqrst", b"secret", Channel::Open);
    let request = LoginRequest {
        capabilities: flags,
        packet_bytes_max: 1 << 24,
        collation: 45,
        user: user.into(),
        auth_response: auth.response(),
        database: Some(b"shop".to_vec()),
        plugin: Some(plugin.into()),
        attributes: vec![(b"program_name".to_vec(), b"test".to_vec())],
        zstd_level: None,
    };
    let (mut out, mut sequence) = (Vec::new(), 1);
    encode_packet(&request.encode(), &mut sequence, &mut out);
    for answer in [&b"\x02"[..], &[7; 256]] {
        sequence += 1;
        encode_packet(answer, &mut sequence, &mut out);
    }
    out
}

#[test]
fn damaged_logins_end_without_panic_and_let_nobody_in() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (house, _) = tls_house();
    let door = Door::new(house);
    let damage = (0usize..400, proptest::collection::vec(any::<u8>(), 0..6), 0usize..4);
    let strategy = (
        prop_oneof![Just("plain"), Just("native"), Just("sha2"), Just("nobody")],
        prop_oneof![Just("mysql_native_password"), Just("caching_sha2_password"), Just("dialog")],
        proptest::collection::vec(damage, 0..4),
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    runner
        .run(&strategy, |(user, plugin, damages)| {
            let mut bytes = stale_login(user, plugin);
            for (at, patch, removed) in damages {
                let at = at % bytes.len();
                let end = (at + removed).min(bytes.len());
                bytes.splice(at..end, patch);
                if bytes.is_empty() {
                    bytes.push(0);
                }
            }
            let ending = runtime.block_on(throw(&door, &bytes));
            prop_assert!(!matches!(ending, Ok(_) | Err(Refused::Timeout)), "{:?}", ending);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_strangers_bytes_end_without_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let door = Door::new(house());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    runner
        .run(&proptest::collection::vec(any::<u8>(), 0..300), |bytes| {
            let ending = runtime.block_on(throw(&door, &bytes));
            prop_assert!(!matches!(ending, Ok(_) | Err(Refused::Timeout)), "{:?}", ending);
            Ok(())
        })
        .unwrap();
    // HTTP, TLS without asking, a header that promises 16 MiB.
    for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01", b"\xff\xff\xff\x01"]
    {
        assert!(runtime.block_on(throw(&door, bytes)).is_err());
    }
}
