//! The proxy's own logins to real servers: both plugins, every way to encrypt, and what a refusal says.

use std::path::PathBuf;

use shardway::internal::connect::{Failed, Target, Tls, open};
use shardway::internal::local::{Flavor, Folder, Server, Template, free_port};

use crate::support::{Plain, flavors};

const PASSWORD: &str = "pässword with 'quotes'";

fn target(port: u16, user: &str, password: &str) -> Target {
    let (user, password) = (user.to_owned(), password.to_owned());
    Target { port, tls: Tls::Disabled, user, password, deprecate_eof: false }
}

async fn create_user(server: &Server, name: &str) {
    let quoted = PASSWORD.replace('\'', "''");
    let statements = [
        format!("CREATE USER {name}@'%' IDENTIFIED BY '{quoted}'"),
        format!("CREATE USER {name}_open@'%'"),
        format!("GRANT SELECT ON *.* TO {name}@'%'"),
    ];
    server.run(&statements).await.unwrap();
}

#[tokio::test]
async fn the_right_password_opens_a_connection_and_a_wrong_one_is_refused() {
    for program in flavors() {
        let server = &Plain::shared(&program).await.server;
        create_user(server, "opens").await;
        // The second login finds the password in caching_sha2_password's cache, the first does not.
        for deprecate_eof in [false, true] {
            let target = Target { deprecate_eof, ..target(server.port, "opens", PASSWORD) };
            let mut opened = open(&target).await.unwrap();
            let version = server.ask("SELECT VERSION()").await.unwrap().unwrap();
            assert_eq!(opened.server_version(), version);
            let (outcome, bytes) = opened.ask("SELECT CONNECTION_ID()").await.unwrap();
            assert_eq!((outcome.rows, outcome.columns, outcome.error), (1, 1, None));
            let id = opened.thread_id().to_string();
            assert!(bytes.windows(id.len()).any(|window| window == id.as_bytes()));
            opened.ping_and_reset().await.unwrap();
            assert!(opened.is_quiet());
            opened.quit().await;
        }
        assert!(open(&target(server.port, "opens_open", "")).await.is_ok());
        for (user, password) in [("opens", "wrong"), ("opens", ""), ("opens_open", "x"), ("nobody", "x")] {
            let refused = open(&target(server.port, user, password)).await.unwrap_err();
            assert_eq!(refused, Failed::LoginRefused(1045), "{user} {password:?}");
        }
    }
}

#[tokio::test]
async fn responses_are_followed_to_their_end_whatever_they_hold() {
    for program in flavors() {
        let server = &Plain::shared(&program).await.server;
        create_user(server, "follows").await;
        for deprecate_eof in [false, true] {
            let target = Target { deprecate_eof, ..target(server.port, "follows", PASSWORD) };
            let mut opened = open(&target).await.unwrap();
            let counted = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
                SELECT i, REPEAT('x', 5000), NULL, '' FROM n";
            let (outcome, bytes) = opened.ask(counted).await.unwrap();
            assert_eq!((outcome.rows, outcome.columns), (900, 4));
            assert!(bytes.len() > 900 * 5000);
            let (outcome, _) = opened.ask("SELECT 1 FROM nowhere.nothing").await.unwrap();
            assert!(outcome.error.is_some());
            let (outcome, _) = opened.ask("DO 1").await.unwrap();
            assert_eq!((outcome.rows, outcome.columns, outcome.error), (0, 0, None));
            assert!(opened.is_quiet());
            // The session still answers: nothing of the responses before was left.
            assert_eq!(opened.ask("SELECT 1").await.unwrap().0.rows, 1);
        }
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_is_verified_as_far_as_asked() {
    for program in flavors() {
        let folder = Folder::create().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| -> PathBuf {
            let path = files.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let certificate = write("cert.pem", made.cert.pem());
        let key = write("key.pem", made.signing_key.serialize_pem());
        let other = write(
            "other.pem",
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem(),
        );
        let nameless = rcgen::generate_simple_self_signed(["db.internal".to_owned()]).unwrap();
        let nameless_certificate = write("nameless.pem", nameless.cert.pem());
        let nameless_key = write("nameless-key.pem", nameless.signing_key.serialize_pem());
        let template = Template::create(&program, &folder).await.unwrap();
        let start = async |name: &str, certificate: &PathBuf, key: &PathBuf| {
            let options = [
                format!("--ssl-cert={}", certificate.display()),
                format!("--ssl-key={}", key.display()),
                format!("--ssl-ca={}", certificate.display()),
            ];
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let server = Server::start(&template, name, &options).await.unwrap();
            create_user(&server, "tls").await;
            server
        };
        let named = start("named", &certificate, &key).await;
        let unnamed = start("unnamed", &nameless_certificate, &nameless_key).await;
        let with = |server: &Server, tls| Target { tls, ..target(server.port, "tls", PASSWORD) };
        for tls in [
            Tls::Preferred,
            Tls::Required,
            Tls::VerifyCa(certificate.clone()),
            Tls::VerifyIdentity(certificate.clone()),
        ] {
            let mut opened = open(&with(&named, tls.clone())).await.unwrap();
            assert!(opened.is_encrypted(), "{tls:?} {}", named.log());
            assert_eq!(opened.ask("SELECT 1").await.unwrap().0.rows, 1);
            opened.ping_and_reset().await.unwrap();
            assert!(opened.is_quiet());
        }
        assert!(!open(&with(&named, Tls::Disabled)).await.unwrap().is_encrypted());
        let failed = async |server: &Server, tls: Tls| match open(&with(server, tls)).await {
            Err(Failed::Tls(cause)) => cause,
            other => panic!("{other:?}"),
        };
        assert!(failed(&named, Tls::VerifyCa(other)).await.contains("invalid peer certificate"));
        assert!(open(&with(&unnamed, Tls::VerifyCa(nameless_certificate.clone()))).await.is_ok());
        let cause = failed(&unnamed, Tls::VerifyIdentity(nameless_certificate)).await;
        assert!(cause.contains("localhost"), "{cause}");
        assert!(failed(&named, Tls::VerifyCa("/nowhere/ca.pem".into())).await.contains("/nowhere/ca.pem"));
    }
}

#[tokio::test]
async fn encryption_that_a_server_does_not_offer_is_an_error_only_where_it_is_required() {
    let programs = flavors();
    let program = programs.iter().find(|program| program.flavor == Flavor::MariaDb).unwrap();
    let server = &Plain::shared(program).await.server;
    create_user(server, "bare").await;
    let with = |tls| Target { tls, ..target(server.port, "bare", PASSWORD) };
    assert!(!open(&with(Tls::Preferred)).await.unwrap().is_encrypted());
    let refused = open(&with(Tls::Required)).await.unwrap_err();
    assert_eq!(refused, Failed::Tls("the server does not offer TLS".into()));
}

#[tokio::test]
async fn nobody_at_the_port_is_unreachable() {
    let failed = open(&target(free_port().unwrap(), "x", "y")).await.unwrap_err();
    assert!(matches!(&failed, Failed::Unreachable(cause) if cause.contains("refused")), "{failed:?}");
}
