//! What is wrong with settings.

/// Everything that is wrong, each a line that begins with the option that it is about.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<String>);

impl Mistakes {
    /// One more.
    pub(crate) fn add(&mut self, line: String) {
        self.0.push(line);
    }

    /// All of them, in the order in which they were found.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.0
    }
}
