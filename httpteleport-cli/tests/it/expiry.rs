//! How long certificates are good, in the metrics.

use std::fs;

use rcgen::{CertificateParams, KeyPair};

use crate::admin::{every_one_is_explained, get, promtool, value};
use crate::program::{Program, run};

const DAY: f64 = 24.0 * 60.0 * 60.0;
const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

async fn metrics(args: &[&str]) -> String {
    let mut program = Program::start(&[args, &ADMIN].concat()).await;
    get(&program.admin().await, "/metrics").await.text().to_owned()
}

#[tokio::test]
async fn both_sides_of_a_link_tell_when_their_certificates_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (code, ..) = run(&["cert", "--for", "far.example.com", "--dir", &path("")]).await;
    assert_eq!(code, Some(0));
    let (cert, key) = (path("far.crt"), path("far.key"));
    let args = ["--in", "teleports://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--in-tls-cert", &cert];
    let far = metrics(&[&args[..], &["--in-tls-key", &key]].concat()).await;
    let (ca, cert, key) = (path("ca.crt"), path("near.crt"), path("near.key"));
    let args = ["--in", "http://127.0.0.1:0", "--out", "teleports://127.0.0.1:1", "--out-ca", &ca];
    let near = metrics(&[&args[..], &["--out-tls-cert", &cert, "--out-tls-key", &key]].concat()).await;
    for (metrics, labels) in
        [(&far, ["input=\"teleports://", "name=\"far.example.com\""]), (&near, ["group=\"out\"", "name=\"near\""])]
    {
        assert_eq!(promtool(metrics).await, "", "{metrics}");
        every_one_is_explained(metrics);
        let left = value(metrics, "httptp_certificate_expiry_seconds", &labels);
        assert!((360.0 * DAY..370.0 * DAY).contains(&left), "{left}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_over_has_less_than_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut params = CertificateParams::new(["old.example".to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("crt"), params.self_signed(&key).expect("signed").pem()).expect("written");
    fs::write(path("key"), key.serialize_pem()).expect("written");
    let (cert, key) = (path("crt"), path("key"));
    let args = ["--in", "https://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--in-tls-cert", &cert, "--in-tls-key"];
    let metrics = metrics(&[&args[..], &[&key]].concat()).await;
    assert!(value(&metrics, "httptp_certificate_expiry_seconds", &["name=\"old.example\""]) < -365.0 * DAY);
}
