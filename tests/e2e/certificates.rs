//! Clients that show certificates, users that require them, and certificates that are renewed while the proxy runs.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use shardway::internal::local::Folder;

use crate::support::{Access, Cluster, Database, Proxy, Setup, Table, command_line, flavors};

const SUBJECT: &str = "/C=SE/O=Shop/CN=web";

/// A CA, a server's certificate and clients' ones, as files.
struct Papers {
    folder: Folder,
    issuer: Issuer<'static, KeyPair>,
}

fn names(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    if name == "web" {
        names.push(DnType::CountryName, "SE");
        names.push(DnType::OrganizationName, "Shop");
    }
    names.push(DnType::CommonName, name);
    names
}

impl Papers {
    fn new() -> Papers {
        let folder = Folder::create().unwrap();
        let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name = names("Clients CA");
        let key = KeyPair::generate().unwrap();
        let certificate: Certificate = ca.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let papers = Papers { folder, issuer: Issuer::new(ca, key) };
        papers.sign("server");
        papers.sign("web");
        papers.sign("batch");
        papers
    }

    /// Writes `name.pem` and `name-key.pem`, over those that are there.
    fn sign(&self, name: &str) {
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = names(name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(name), certificate.pem()).unwrap();
        std::fs::write(self.file(&format!("{name}-key")), key.serialize_pem()).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pem"))
    }

    fn tls(&self, certificates: &str) -> String {
        format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}\nclient_ca = {:?}\nclient_certificates = \"{certificates}\"\n",
            self.file("server"),
            self.file("server-key"),
            self.file("ca")
        )
    }

    /// How the command line client shows a certificate.
    fn shown(&self, name: &str) -> Vec<String> {
        vec![
            "--ssl".to_owned(),
            format!("--ssl-cert={}", self.file(name).display()),
            format!("--ssl-key={}", self.file(&format!("{name}-key")).display()),
        ]
    }
}

fn users() -> String {
    let more = "password = \"app-secret\"\nserver_user = \"app\"\nserver_password = \"app-secret\"";
    let mut out = String::new();
    for (name, require) in [
        ("anyone", String::new()),
        ("secure", "require = \"tls\"".to_owned()),
        ("known", "require = \"x509\"".to_owned()),
        ("web", format!("require_subject = \"{SUBJECT}\"")),
        ("ours", "require = \"x509\"\nrequire_issuer = \"/CN=Clients CA\"".to_owned()),
        ("foreign", "require_issuer = \"/CN=Another CA\"".to_owned()),
    ] {
        out.push_str(&format!("[[user]]\nname = \"{name}\"\n{require}\n{more}\n"));
    }
    out
}

async fn open(papers: &Papers, certificates: &str) -> (Proxy, Database) {
    let program = flavors().remove(0);
    let cluster = Cluster::shared(&program).await;
    let database = cluster.database([Table::sharded("t", "k", "(k INT PRIMARY KEY)")]).await;
    let setup =
        Setup::new(cluster).database(&database).settings(&papers.tls(certificates)).settings(&users());
    (Proxy::start(&setup).await, database)
}

/// Whether `user` gets in; a refusal is 1045 as for a wrong password, or what `other` says.
async fn enters(proxy: &Proxy, user: &str, options: &[String]) -> Result<(), String> {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let access = Access::new(proxy.mysql, user, "app-secret");
    let told = command_line(&access, &options, "SELECT 'in'").await;
    if told.success { Ok(()) } else { Err(told.err) }
}

#[tokio::test]
async fn users_get_in_with_the_connection_that_they_require() {
    let papers = Papers::new();
    let (proxy, _database) = open(&papers, "optional").await;
    let plain = vec!["--skip-ssl".to_owned()];
    let bare = vec!["--ssl".to_owned()];
    let (web, batch) = (papers.shown("web"), papers.shown("batch"));
    for (user, allowed) in [
        ("anyone", [true, true, true, true]),
        ("secure", [false, true, true, true]),
        ("known", [false, false, true, true]),
        ("web", [false, false, true, false]),
        ("ours", [false, false, true, true]),
        ("foreign", [false, false, false, false]),
    ] {
        for (options, allowed) in [&plain, &bare, &web, &batch].into_iter().zip(allowed) {
            let entered = enters(&proxy, user, options).await;
            assert_eq!(entered.is_ok(), allowed, "{user} with {options:?}: {entered:?}");
            if let Err(text) = entered {
                let denied = format!(
                    "ERROR 1045 (28000): Access denied for user '{user}'@'127.0.0.1' (using password: YES)"
                );
                assert!(text.contains(&denied), "{user} with {options:?}: {text}");
            }
        }
    }
    // Another CA's certificate ends the handshake, whoever the user is.
    let others = Papers::new();
    assert!(enters(&proxy, "anyone", &others.shown("web")).await.is_err());
}

#[tokio::test]
async fn required_certificates_refuse_clients_without_one() {
    let papers = Papers::new();
    let (proxy, _database) = open(&papers, "required").await;
    let refused = enters(&proxy, "anyone", &["--skip-ssl".to_owned()]).await.unwrap_err();
    assert!(refused.contains("SW1005"), "{refused}");
    enters(&proxy, "anyone", &["--ssl".to_owned()]).await.expect_err("no certificate");
    enters(&proxy, "anyone", &papers.shown("batch")).await.unwrap();
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_after_a_reload() {
    let papers = Papers::new();
    let (proxy, _database) = open(&papers, "optional").await;
    let others = Papers::new();
    let trusting = |papers: &Papers| {
        vec![format!("--ssl-ca={}", papers.file("ca").display()), "--ssl-verify-server-cert".to_owned()]
    };
    enters(&proxy, "anyone", &trusting(&papers)).await.unwrap();
    enters(&proxy, "anyone", &trusting(&others)).await.expect_err("signed by the other CA");
    for name in ["server", "server-key"] {
        std::fs::copy(others.file(name), papers.file(name)).unwrap();
    }
    proxy.signal("HUP");
    crate::support::eventually("the new certificate is shown", async || {
        enters(&proxy, "anyone", &trusting(&others)).await.is_ok()
    })
    .await;
    enters(&proxy, "anyone", &trusting(&papers)).await.expect_err("signed by the other CA");
}
