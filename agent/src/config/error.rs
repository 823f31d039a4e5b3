//! All that is wrong with a configuration, at once, each with its place.

use super::tree::{Pos, Source};
use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 when it is about the file as a whole.
    pub column: usize,
    /// The file's name as it was given.
    pub file: String,
    /// Which value, such as `sinks[1].url`; empty for the whole document.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n    {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong, in the order of the file.
///
/// Shown one a line, as `file:line:column: path: what`, with a suggestion below.
/// Never holds a secret, nor the value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    /// The problems, at least one, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }

    pub(super) fn unreadable(file: &str, what: String) -> Self {
        let (path, hint) = (String::new(), None);
        Self(vec![Problem { line: 0, column: 0, file: file.to_owned(), path, what, hint }])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            let newline = if n == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects problems while the configuration is read.
#[derive(Debug)]
pub(super) struct Problems {
    file: String,
    /// The document is a governance document alone: its paths are shown as they
    /// stand in it, without the key `governance` that we put around it.
    pub(super) alone: bool,
    list: Vec<(Source, Problem)>,
}

impl Problems {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), alone: false, list: Vec::new() }
    }

    pub(super) fn add(
        &mut self,
        pos: Pos,
        path: impl Into<String>,
        what: impl Into<String>,
        hint: Option<String>,
    ) {
        let mut path = path.into();
        if self.alone
            && let Some(rest) = path.strip_prefix("governance")
        {
            path = rest.trim_start_matches('.').to_owned();
        }
        let file = match pos.source {
            Source::Yours => self.file.clone(),
            Source::Defaults => "(built-in defaults)".to_owned(),
        };
        let (line, column, what) = (pos.line, pos.column, what.into());
        self.list.push((pos.source, Problem { line, column, file, path, what, hint }));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn into_errors(mut self) -> ConfigErrors {
        self.list.sort();
        self.list.dedup();
        if self.list.is_empty() {
            // Cannot happen: whoever gives up says why. But an error says something.
            return ConfigErrors::unreadable(&self.file, "cannot be read".to_owned());
        }
        ConfigErrors(self.list.into_iter().map(|(_, problem)| problem).collect())
    }
}

/// The known word that an unknown one was most likely meant to be.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::normalized_damerau_levenshtein(&lower, k), k))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}
