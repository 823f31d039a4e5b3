//! YAML text → a tree in which every key and value knows its line and column.
//!
//! One document, string keys, plain data. Refused with their position: keys
//! that stand twice, tags, merge keys, aliases that grow past [`MAX_NODES`]
//! (the "billion laughs"), and nesting past [`MAX_DEPTH`]. JSON is YAML, so it
//! comes the same way.

use super::error::Problems;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;

/// More values than any configuration needs, aliases expanded.
pub(super) const MAX_NODES: usize = 10_000;
/// Deeper than any configuration nests.
pub(super) const MAX_DEPTH: usize = 32;

/// Which text a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The operator's file.
    Yours,
    /// The defaults that are built in.
    Defaults,
}

/// Where something stands: lines and columns (in characters) count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pos {
    pub(super) source: Source,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) pos: Pos,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// It was refused already; nobody needs to hear of it again.
    Refused,
}

/// One key with its value, in the order of the text.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) pos: Pos,
    pub(super) value: Node,
}

#[derive(Debug, Clone)]
pub(super) struct Scalar {
    /// The value, after substitution.
    pub(super) text: String,
    /// As it was written, when a `${VARIABLE}` in it was substituted: messages
    /// show this, so that no environment value ends in one.
    pub(super) written: Option<String>,
    /// Without quotes, so it may be a number, a truth value or nothing.
    pub(super) plain: bool,
}

impl Scalar {
    /// What messages may show of it.
    pub(super) fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.text)
    }

    /// YAML's "nothing".
    pub(super) fn is_null(&self) -> bool {
        self.plain
            && self.written.is_none()
            && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// Whether it may be something else than text: it has no quotes, or it came
    /// from the environment (in `{…}` a variable cannot stand without quotes).
    fn is_open(&self) -> bool {
        self.plain || self.written.is_some()
    }

    /// `true` or `false` (not `yes`, not `on`: YAML 1.2).
    pub(super) fn as_bool(&self) -> Option<bool> {
        match self.text.as_str() {
            _ if !self.is_open() => None,
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub(super) fn as_integer(&self) -> Option<u64> {
        let digits = self.text.bytes().all(|b| b.is_ascii_digit());
        (self.is_open() && digits).then(|| self.text.parse().ok())?
    }

    /// Text, unless YAML reads something else into it.
    pub(super) fn as_text(&self) -> Option<&str> {
        let other = self.is_null()
            || self.as_bool().is_some()
            || self.text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
                && self.text.parse::<f64>().is_ok();
        (self.written.is_some() || !self.plain || !other).then_some(&self.text)
    }
}

impl Node {
    /// An empty map at a place, to be filled.
    pub(super) fn map(pos: Pos, entries: Vec<Entry>) -> Self {
        Self { pos, kind: Kind::Map(entries) }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|e| e.key == key).map(|e| &e.value)
    }

    /// The value at a path like `sinks[1].url`.
    pub(super) fn find(&self, path: &str) -> Option<&Self> {
        steps(path).try_fold(self, Self::step)
    }

    /// Where a path stands, or the nearest thing around it that exists.
    pub(super) fn position_of(&self, path: &str) -> Pos {
        let mut here = self;
        for step in steps(path) {
            match here.step(step) {
                Some(next) => here = next,
                None => break,
            }
        }
        here.pos
    }

    fn step(&self, step: Step<'_>) -> Option<&Self> {
        match step {
            Step::Key(key) => self.get(key),
            Step::Item(index) => self.items().get(index),
        }
    }

    fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(_) | Kind::Refused => 0,
            Kind::List(items) => items.iter().map(Self::count).sum(),
            Kind::Map(entries) => entries.iter().map(|e| 1 + e.value.count()).sum(),
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(_) | Kind::Refused => 0,
            Kind::List(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Kind::Map(entries) => entries.iter().map(|e| e.value.depth()).max().unwrap_or(0),
        }
    }
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split(['.', '[']).filter(|s| !s.is_empty()).map(|step| {
        match step.strip_suffix(']').and_then(|n| n.parse().ok()) {
            Some(index) => Step::Item(index),
            None => Step::Key(step),
        }
    })
}

/// Joins a key to a path: `sinks[1]` and `url` make `sinks[1].url`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

const QUOTE_VARIABLES: &str = "inside {…} and […] a variable stands in quotes: \"${NAME}\"";

/// Reads one document. `None` when there is no tree to go on with; the
/// problems say why.
pub(super) fn read(text: &str, source: Source, problems: &mut Problems) -> Option<Node> {
    let mut builder = Builder {
        source,
        problems,
        open: Vec::new(),
        anchors: HashMap::new(),
        count: 0,
        root: None,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(e) => {
                let (line, column) = (e.marker().line(), e.marker().col() + 1);
                let near = text.lines().skip(line.saturating_sub(2)).take(2);
                let hint = near.filter(|l| l.contains("${")).map(|_| QUOTE_VARIABLES.into()).next();
                let what = format!("not valid YAML: {}", e.info());
                builder.problems.add(Pos { source, line, column }, "", what, hint);
                return None;
            }
        };
        builder.event(event, span)?;
    }
    if builder.root.is_none() {
        let pos = Pos { source, line: 1, column: 1 };
        builder.problems.add(pos, "", "there is nothing in it", None);
    }
    builder.root
}

/// A list or map that is not closed yet.
struct Open {
    pos: Pos,
    anchor: usize,
    filled: Filled,
}

enum Filled {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<(String, Pos)>),
}

struct Builder<'p> {
    source: Source,
    problems: &'p mut Problems,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    count: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    /// Takes one event; `None` when reading has to stop.
    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let pos =
            Pos { source: self.source, line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Some(()),
            Event::DocumentStart(_) => match self.root {
                None => Some(()),
                Some(_) => self.stop(pos, "a second document begins here; there is one a file"),
            },
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    return self.stop(pos, "YAML tags (`!…`) are not taken here");
                }
                let plain = style == ScalarStyle::Plain;
                let scalar = Scalar { text: text.into_owned(), written: None, plain };
                self.close(Node { pos, kind: Kind::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(pos, anchor, tag.is_some(), Filled::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(pos, anchor, tag.is_some(), Filled::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.open.pop()?;
                let kind = match open.filled {
                    Filled::List(items) => Kind::List(items),
                    Filled::Map(entries, _) => Kind::Map(entries),
                };
                self.close(Node { pos: open.pos, kind }, open.anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return self.stop(pos, "this alias stands inside what it names");
                };
                self.count += node.count();
                if self.open.len() + node.depth() > MAX_DEPTH {
                    return self.stop(pos, "nested too deeply");
                }
                self.close(node, 0)
            }
        }
    }

    fn begin(&mut self, pos: Pos, anchor: usize, tagged: bool, filled: Filled) -> Option<()> {
        if tagged {
            return self.stop(pos, "YAML tags (`!…`) are not taken here");
        }
        if self.open.len() >= MAX_DEPTH {
            return self.stop(pos, "nested too deeply");
        }
        self.open.push(Open { pos, anchor, filled });
        Some(())
    }

    /// Puts a finished value where it belongs.
    fn close(&mut self, node: Node, anchor: usize) -> Option<()> {
        self.count += 1;
        if self.count > MAX_NODES {
            return self.stop(
                node.pos,
                "more values than a configuration can have (aliases count each time)",
            );
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let path = self.path();
        match self.open.last_mut().map(|o| &mut o.filled) {
            None => self.root = Some(node),
            Some(Filled::List(items)) => items.push(node),
            Some(Filled::Map(entries, pending)) => match (pending.take(), node.kind) {
                (Some((key, pos)), kind) => {
                    let first = entries.iter().find(|e| e.key == key).map(|e| e.pos.line);
                    match first {
                        Some(line) => self.problems.add(
                            pos,
                            join(&path, &key),
                            format!("this key is on line {line} already"),
                            Some("keep one of the two".into()),
                        ),
                        None => {
                            entries.push(Entry { key, pos, value: Node { pos: node.pos, kind } });
                        }
                    }
                }
                (None, Kind::Scalar(key)) if key.plain && key.text == "<<" => {
                    return self.stop(node.pos, "YAML merge keys (`<<`) are not taken here");
                }
                (None, Kind::Scalar(key)) => *pending = Some((key.text, node.pos)),
                (None, _) => return self.stop(node.pos, "a key has to be a word"),
            },
        }
        Some(())
    }

    /// The path of the innermost list or map that is open.
    fn path(&self) -> String {
        let (_, outer) = self.open.split_last().unzip();
        outer.unwrap_or(&[]).iter().fold(String::new(), |path, open| match &open.filled {
            Filled::List(items) => format!("{path}[{}]", items.len()),
            Filled::Map(_, pending) => join(&path, pending.as_ref().map_or("?", |(k, _)| k)),
        })
    }

    fn stop(&mut self, pos: Pos, what: &str) -> Option<()> {
        let path = self.path();
        self.problems.add(pos, path, what, None);
        None
    }
}
