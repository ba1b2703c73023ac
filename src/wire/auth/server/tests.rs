//! Both sides of the exchange, played against each other.

use proptest::prelude::*;

use super::super::client::{Channel, ClientAuth, ClientStep};
use super::*;
use crate::wire::response::{OkPacket, encode_ok};

const CHALLENGE: &[u8; SCRAMBLE_BYTES] = b"abcdefghijklmnopqrst";

/// What a login came to, with the kinds of messages that the proxy sent.
#[derive(Debug, PartialEq, Eq)]
struct Ending {
    accepted: bool,
    used_password: bool,
    remembered: bool,
    sent: Vec<Vec<u8>>,
}

/// A client with `password` that begins with `plugin` logs in. RSA is replaced by reversing the bytes.
fn play(
    secret: &Secret,
    fast: Option<FastDigest>,
    plugin: Plugin,
    password: &str,
    channel: Channel,
) -> Ending {
    let mut client = ClientAuth::new(plugin.name(), CHALLENGE, password.as_bytes(), channel);
    let (mut server, mut step) = ServerAuth::start(ServerAuthStart {
        secret: secret.clone(),
        preferred: Plugin::CachingSha2,
        fast,
        challenge: *CHALLENGE,
        client_plugin: Some(plugin.name().as_bytes()),
        response: &client.response(),
        encrypted: channel != Channel::Open,
    });
    let mut sent = Vec::new();
    loop {
        let payload = match &step {
            ServerStep::Send(payload) => payload.clone(),
            ServerStep::SendKey => ServerAuth::public_key(b"-----BEGIN"),
            _ => Vec::new(),
        };
        step = match step {
            ServerStep::Send(_) | ServerStep::SendKey => {
                sent.push(payload.iter().copied().take(2).collect());
                match client.receive(&payload).unwrap() {
                    ClientStep::Send(answer) => server.receive(&answer).unwrap(),
                    ClientStep::Encrypt { message, .. } => {
                        server.receive(&message.iter().rev().copied().collect::<Vec<_>>()).unwrap()
                    }
                    other => panic!("{other:?}"),
                }
            }
            ServerStep::Check(check) => {
                let checked = check.run(|bytes| Some(bytes.iter().rev().copied().collect()));
                server.checked(checked)
            }
            ServerStep::Accept { first, remember } => {
                if let Some(first) = first {
                    assert_eq!(client.receive(&first), Ok(ClientStep::Wait));
                }
                let ok = encode_ok(&OkPacket::default());
                assert!(matches!(client.receive(&ok), Ok(ClientStep::Done(_))));
                return Ending { accepted: true, used_password: true, remembered: remember.is_some(), sent };
            }
            ServerStep::Deny { used_password } => {
                return Ending { accepted: false, used_password, remembered: false, sent };
            }
            ServerStep::NoPlugin => panic!("the client named a plugin"),
        };
    }
}

fn secrets() -> [Secret; 3] {
    let salt = b"01234567890123456789".to_vec();
    let digest = sha2_crypt_text(&sha2_crypt(b"secret", &salt, 1000)).to_vec();
    [
        Secret::Plain(b"secret".to_vec()),
        Secret::NativeHash(native_hash(b"secret")),
        Secret::Sha2 { rounds: 1000, salt, digest },
    ]
}

#[test]
fn the_right_password_logs_in_with_every_secret_plugin_and_channel() {
    for secret in secrets() {
        for plugin in [Plugin::Native, Plugin::CachingSha2] {
            for channel in [Channel::Open, Channel::Encrypted] {
                assert!(play(&secret, None, plugin, "secret", channel).accepted, "{plugin:?} {channel:?}");
                for wrong in ["Secret", "secret ", ""] {
                    let ending = play(&secret, None, plugin, wrong, channel);
                    assert!(!ending.accepted, "{plugin:?} {channel:?} {wrong:?}");
                    assert_eq!(ending.used_password, !wrong.is_empty());
                }
            }
        }
    }
}

#[test]
fn an_unknown_user_meets_the_same_messages_as_a_wrong_password() {
    for secret in secrets() {
        let unknown = Secret::Unknown(Box::new(secret.clone()));
        for plugin in [Plugin::Native, Plugin::CachingSha2] {
            for channel in [Channel::Open, Channel::Encrypted] {
                assert_eq!(
                    play(&unknown, None, plugin, "wrong", channel),
                    play(&secret, None, plugin, "wrong", channel)
                );
                assert!(!play(&unknown, None, plugin, "secret", channel).accepted);
            }
        }
    }
}

#[test]
fn a_full_exchange_is_remembered_and_the_next_login_is_fast() {
    let [_, _, sha2] = secrets();
    let first = play(&sha2, None, Plugin::CachingSha2, "secret", Channel::Open);
    assert!(first.remembered);
    assert_eq!(first.sent, [&[1, 4][..], &[1, b'-']]);
    let fast = Some(fast_digest(b"secret"));
    let second = play(&sha2, fast, Plugin::CachingSha2, "secret", Channel::Open);
    assert!(second.accepted && second.sent.is_empty());
    // A wrong password is asked for in full even then, as for an unknown user.
    assert_eq!(play(&sha2, fast, Plugin::CachingSha2, "x", Channel::Encrypted).sent, [[1, 4]]);
}

#[test]
fn an_empty_password_logs_in_where_the_secret_is_empty() {
    for plugin in [Plugin::Native, Plugin::CachingSha2] {
        let empty = Secret::Plain(Vec::new());
        assert!(play(&empty, None, plugin, "", Channel::Open).accepted);
        assert!(!play(&empty, None, plugin, "x", Channel::Open).accepted);
        assert!(!play(&Secret::Unknown(Box::new(empty)), None, plugin, "", Channel::Open).accepted);
    }
}

fn start(secret: Secret, client_plugin: Option<&[u8]>, response: &[u8]) -> (ServerAuth, ServerStep) {
    ServerAuth::start(ServerAuthStart {
        secret,
        preferred: Plugin::CachingSha2,
        fast: None,
        challenge: *CHALLENGE,
        client_plugin,
        response,
        encrypted: false,
    })
}

#[test]
fn a_client_whose_scramble_is_never_right_is_asked_for_the_password_as_by_a_server() {
    for secret in [secrets()[0].clone(), secrets()[2].clone()] {
        for (password, accepted) in [(&b"secret\0"[..], true), (b"Secret\0", false)] {
            let (mut server, step) = ServerAuth::start(ServerAuthStart {
                secret: secret.clone(),
                preferred: Plugin::CachingSha2,
                fast: Some(fast_digest(b"secret")),
                challenge: *CHALLENGE,
                client_plugin: Some(b"caching_sha2_password"),
                response: &[7; 32],
                encrypted: true,
            });
            assert!(matches!(step, ServerStep::Send(payload) if payload == [MORE, FULL]));
            let ServerStep::Check(check) = server.receive(password).unwrap() else { panic!("no check") };
            let ended = server.checked(check.run(|_| None));
            assert_eq!(matches!(ended, ServerStep::Accept { .. }), accepted);
        }
    }
}

#[test]
fn a_client_with_an_unknown_plugin_is_asked_to_switch() {
    let [plain, native, _] = secrets();
    for (secret, plugin) in [(plain, "caching_sha2_password"), (native, "mysql_native_password")] {
        let (_, step) = start(secret, Some(b"dialog"), b"whatever");
        let ServerStep::Send(payload) = step else { panic!("{step:?}") };
        let switch = AuthSwitch::decode(&payload).unwrap();
        assert_eq!((switch.plugin.as_str(), &switch.challenge[..]), (plugin, &CHALLENGE[..]));
    }
}

#[test]
fn a_client_without_plugins_can_only_do_native() {
    let [plain, _, sha2] = secrets();
    let response = super::super::digest::native_response(b"secret", CHALLENGE);
    assert!(matches!(start(plain, None, &response).1, ServerStep::Accept { .. }));
    assert!(matches!(start(sha2, None, &response).1, ServerStep::NoPlugin));
}

#[test]
fn without_tls_a_password_in_the_clear_is_not_accepted() {
    let [_, _, sha2] = secrets();
    let (mut auth, _) = start(sha2, Some(b"caching_sha2_password"), &[1; 32]);
    let Ok(ServerStep::Check(check)) = auth.receive(b"secret\0") else { panic!("no check") };
    let step = auth.checked(check.run(|_| None));
    assert!(matches!(step, ServerStep::Deny { used_password: true }));
}

proptest! {
    #[test]
    fn hostile_answers_do_not_panic_and_end(
        plugin in prop_oneof![Just("mysql_native_password"), Just("caching_sha2_password"), Just("x")],
        response in proptest::collection::vec(any::<u8>(), 0..40),
        answers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3), 0..20),
    ) {
        let salt = vec![b's'; 20];
        let secret = Secret::Sha2 { rounds: 10, salt, digest: vec![0; 43] };
        let (mut auth, mut step) = start(secret, Some(plugin.as_bytes()), &response);
        for answer in &answers {
            step = match step {
                ServerStep::Check(check) => auth.checked(check.run(|bytes| Some(bytes.to_vec()))),
                _ => match auth.receive(answer) { Ok(next) => next, Err(_) => break },
            };
            prop_assert!(!matches!(step, ServerStep::Accept { .. }), "a random password was accepted");
        }
    }
}
