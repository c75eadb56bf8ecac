//! What is wrong with settings.

/// Everything that is wrong, each a line that begins with the option that it is about.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    lines: Vec<String>,
    idle: Vec<String>,
    /// Options whose values cannot be read.
    unread: Vec<String>,
}

impl Mistakes {
    /// None yet, where what was said of these options cannot be read, which was told. Nobody knows what was meant by it, so what
    /// would be wrong without it may be fine: lines that name one of them are not taken.
    pub(crate) fn beside(unread: Vec<String>) -> Mistakes {
        Mistakes { unread, ..Mistakes::default() }
    }

    /// One more.
    pub(crate) fn add(&mut self, line: String) {
        let is_of_names = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        let mut words = line.split(|letter| !is_of_names(letter));
        if !words.any(|word| self.unread.iter().any(|option| option == word)) {
            self.lines.push(line);
        }
    }

    /// One more that depends on what this option says.
    pub(crate) fn add_if_read(&mut self, option: &str, line: String) {
        if self.is_read(option) {
            self.add(line);
        }
    }

    /// Whether what was said of an option can be read, or nothing was.
    pub(crate) fn is_read(&self, option: &str) -> bool {
        !self.unread.iter().any(|unread| unread == option)
    }

    /// Something that is not wrong, and does nothing.
    pub(crate) fn add_idle(&mut self, line: String) {
        self.idle.push(line);
    }

    /// What does nothing, each a line for the log.
    pub(crate) fn idle(&self) -> &[String] {
        &self.idle
    }

    /// All of them, in the order in which they were found.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_what_cannot_be_read_is_no_mistake() {
        let mut mistakes = Mistakes::beside(vec!["--in".to_owned(), "--client-rate".to_owned()]);
        mistakes.add("--in-delay: too long".to_owned());
        mistakes.add("--client-burst: says nothing without --client-rate; give that as well".to_owned());
        mistakes.add("--in http://:80: taken".to_owned());
        mistakes.add_if_read("--in", "--in-tls-cert: the input does not use TLS".to_owned());
        mistakes.add_if_read("--out", "--out-ca: no output uses TLS".to_owned());
        assert_eq!(mistakes.into_lines(), ["--in-delay: too long", "--out-ca: no output uses TLS"]);
    }
}
