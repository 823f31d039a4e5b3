//! What the elements share when they turn their raw twin into the valid type.

use super::error::Problems;
use super::quantity::{self, RawDuration, RawSize, Size};
use super::tree::Node;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// The tree that the values came from, for their places, and the problems so far.
///
/// A conversion that gives `None` has said why, or an earlier stage has.
pub(super) struct Check<'a> {
    pub(super) tree: &'a Node,
    pub(super) problems: &'a mut Problems,
}

impl Check<'_> {
    /// Reports what is wrong with the value at `path`.
    pub(super) fn refuse(&mut self, path: &str, what: impl Into<String>, hint: impl Into<String>) {
        let pos = self.tree.position_of(path);
        self.problems.add(pos, path, what, Some(hint.into()));
    }

    /// The value at `path` as it stands in the file.
    pub(super) fn node(&self, path: &str) -> Option<&Node> {
        self.tree.find(path)
    }

    /// Whether something was written at `path`.
    pub(super) fn given(&self, path: &str) -> bool {
        self.node(path).is_some()
    }

    /// What messages may show of the value at `path`.
    pub(super) fn shown(&self, path: &str) -> String {
        let scalar = self.node(path).and_then(Node::scalar);
        scalar.map(|s| s.shown().to_owned()).unwrap_or_default()
    }

    pub(super) fn size(&mut self, path: &str, raw: Option<RawSize>) -> Option<Size> {
        match quantity::size(&raw?.0) {
            Ok(size) => Some(size),
            Err(what) => {
                let what = format!("`{}`: {what}", self.shown(path));
                self.refuse(path, what, "write a size with its unit: 16MiB, 1GiB, 512KiB");
                None
            }
        }
    }

    /// A size within bounds (inclusive).
    pub(super) fn size_within(
        &mut self,
        path: &str,
        raw: Option<RawSize>,
        bounds: (Size, Size),
    ) -> Option<Size> {
        let size = self.size(path, raw)?;
        self.within(path, size, bounds).then_some(size)
    }

    pub(super) fn within(&mut self, path: &str, size: Size, (least, most): (Size, Size)) -> bool {
        let fits = size >= least && size <= most;
        if !fits {
            let what = format!("{size} is out of range");
            self.refuse(path, what, format!("from {least} to {most}"));
        }
        fits
    }

    /// A duration within bounds (inclusive).
    pub(super) fn duration(
        &mut self,
        path: &str,
        raw: Option<RawDuration>,
        (least, most): (Duration, Duration),
    ) -> Option<Duration> {
        let duration = match quantity::duration(&raw?.0) {
            Ok(duration) => duration,
            Err(what) => {
                let what = format!("`{}`: {what}", self.shown(path));
                self.refuse(path, what, "write a duration with its unit: 500ms, 30s, 5m, 1h30m");
                return None;
            }
        };
        if duration < least || duration > most {
            let what = format!("{} is out of range", quantity::spoken(duration));
            let (least, most) = (quantity::spoken(least), quantity::spoken(most));
            self.refuse(path, what, format!("from {least} to {most}"));
            return None;
        }
        Some(duration)
    }

    /// An absolute path without `..`: what a file means must not depend on the
    /// folder that the agent was started in.
    pub(super) fn absolute(&mut self, path: &str, text: &str) -> Option<PathBuf> {
        let file = Path::new(text);
        let climbs = file.components().any(|c| c == Component::ParentDir);
        if file.is_absolute() && !climbs && !text.contains('\0') {
            return Some(file.to_owned());
        }
        let what = format!("`{}` is not an absolute path without `..`", self.shown(path));
        self.refuse(path, what, "begin at the root: /etc/sealtail/…");
        None
    }
}

/// What was left out stays out; what was given and is wrong is nothing at all.
#[expect(clippy::option_option, reason = "left out, wrong, and good are three things")]
pub(super) fn whole<T>(
    made: Option<Option<T>>,
    path: &str,
    check: &Check<'_>,
) -> Option<Option<T>> {
    match made {
        Some(made) => made.map(Some),
        None => (!check.given(path)).then_some(None),
    }
}
