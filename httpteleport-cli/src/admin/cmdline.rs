//! The command line as whoever reads the admin address may see it.

/// The option whose value is a key, in whichever spelling.
const KEY: &str = "intlssessionticketkey";

/// The same without keys.
pub(super) fn without_keys(cmdline: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut is_key = false;
    cmdline.map(move |word| {
        if std::mem::take(&mut is_key) {
            return "...".to_owned();
        }
        let (name, value) = word.split_once('=').map_or((&*word, None), |(name, value)| (name, Some(value)));
        if !name.starts_with('-') || name.replace('-', "").to_ascii_lowercase() != KEY {
            return word;
        }
        match value {
            Some(_) => format!("{name}=..."),
            None => {
                is_key = true;
                word
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_told() {
        let shown = |line: &str| without_keys(line.split(' ').map(str::to_owned)).collect::<Vec<_>>().join(" ");
        for (line, want) in [
            ("httptp --in-tls-session-ticket-key secret --in a", "httptp --in-tls-session-ticket-key ... --in a"),
            ("httptp --in-tls-session-ticket-key=a=b --in a", "httptp --in-tls-session-ticket-key=... --in a"),
            ("httptp -inTLSSessionTicketKey=secret -in=a", "httptp -inTLSSessionTicketKey=... -in=a"),
            ("httptp --inTLSSessionTicketKey secret", "httptp --inTLSSessionTicketKey ..."),
            ("httptp --in-tls-key file --in a=b", "httptp --in-tls-key file --in a=b"),
        ] {
            assert_eq!(shown(line), want);
        }
    }
}
