//! Tickets by which clients resume TLS sessions, with every node that has the same secret.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::server::ProducesTickets;

/// How long a ticket is good for, in seconds: TLS 1.3 allows a week, most servers take less.
const LIFETIME: u32 = 12 * 60 * 60;
/// Each ticket has a key of its own, which the secret and this many random bytes make: no two tickets have the same key and nonce,
/// however many nodes make them.
const SALT: usize = 32;

/// Makes and reads tickets.
pub(super) struct Tickets {
    secret: [u8; 32],
    random: SystemRandom,
}

impl Tickets {
    /// Those of everybody who has this text.
    pub(super) fn new(text: &str) -> Tickets {
        let mut secret = [0; 32];
        secret.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Tickets { secret, random: SystemRandom::new() }
    }

    fn key(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let made = Salt::new(HKDF_SHA256, salt).extract(&self.secret);
        let made = made.expand(&[b"httptp session ticket"], &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(made)))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut salt = [0; SALT];
        self.random.fill(&mut salt).ok()?;
        let mut sealed = plain.to_vec();
        // A key that is used once needs no nonce.
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        self.key(&salt)?.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).ok()?;
        Some([&salt[..], &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (salt, sealed) = ticket.split_at_checked(SALT)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let plain = self.key(salt)?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_text_reads_the_ticket_and_nobody_else() {
        let (one, same, other) = (Tickets::new("a secret"), Tickets::new("a secret"), Tickets::new("another"));
        let ticket = one.encrypt(b"a session").expect("a ticket");
        assert_eq!(same.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        assert_eq!(other.decrypt(&ticket), None);
        assert_ne!(one.encrypt(b"a session"), Some(ticket.clone()), "no two tickets are the same");
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(same.decrypt(&forged), None, "byte {at}");
            assert_eq!(same.decrypt(&ticket[..at]), None, "{at} bytes");
        }
    }
}
