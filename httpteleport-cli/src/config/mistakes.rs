//! What is wrong with settings.

/// Everything that is wrong, each a line that begins with the option that it is about.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    lines: Vec<String>,
    idle: Vec<String>,
}

impl Mistakes {
    /// One more.
    pub(crate) fn add(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Something that is not wrong, and does nothing.
    pub(crate) fn add_idle(&mut self, line: String) {
        self.idle.push(line);
    }

    /// Whether there is one.
    pub(crate) fn any(&self) -> bool {
        !self.lines.is_empty()
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
