//! The parser and its tape.

use super::text::{find_special, hex4};

/// How deep documents may nest. Webhooks nest about twelve deep.
pub const MAX_DEPTH: usize = 96;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An object: keys and values follow in turn.
    Object,
    /// An array: its items follow.
    Array,
    /// A string, value or key; the slice is what stands between the quotes.
    Str,
    /// A string that holds escapes.
    EscStr,
    /// A number, as it was written.
    Number,
    /// `true`, `false` or `null`.
    Word,
}

/// One value (or key) of the document.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Byte offset where it begins (strings: behind the quote).
    pub start: u32,
    /// Byte offset behind its end (strings: at the closing quote).
    pub end: u32,
    /// Index of the node behind this one and all that it holds.
    pub next: u32,
}

/// Why a text is not a JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not what RFC 8259 allows here.
    #[error("failed to read JSON: syntax at byte {0}")]
    Syntax(usize),
    /// The text ended inside the document.
    #[error("failed to read JSON: the text ends inside the document")]
    Ended,
    /// Deeper than [`MAX_DEPTH`].
    #[error("failed to read JSON: nested too deeply at byte {0}")]
    Depth(usize),
    /// Longer than node offsets can say.
    #[error("failed to read JSON: text over 4 GiB")]
    TooLong,
}

/// The structure of one document, in document order.
#[derive(Debug, Default)]
pub struct Tape {
    nodes: Vec<Node>,
    /// Indices of the containers that are open.
    open: Vec<u32>,
}

impl Tape {
    /// Parses the one document that `text` begins with (after white space).
    ///
    /// Returns the offset behind it; what follows is the caller's business.
    ///
    /// # Errors
    /// Where and why the text is not a document. The tape is then empty.
    pub fn parse(&mut self, text: &str) -> Result<usize, ParseError> {
        self.nodes.clear();
        self.open.clear();
        if u32::try_from(text.len()).is_err() {
            return Err(ParseError::TooLong);
        }
        let mut parser = Parser { text: text.as_bytes(), at: 0, tape: self };
        let result = parser.document();
        if result.is_err() {
            self.nodes.clear();
        }
        result
    }

    /// The node at `index`, in document order; the whole document is 0.
    #[must_use]
    pub fn node(&self, index: u32) -> Option<Node> {
        self.nodes.get(index as usize).copied()
    }

    /// The slice of `text` (that was parsed) which the node covers.
    #[must_use]
    pub fn raw<'t>(&self, text: &'t str, index: u32) -> &'t str {
        self.node(index)
            .and_then(|n| text.get(n.start as usize..n.end as usize))
            .unwrap_or_default()
    }

    /// The members of the object at `index`, as (key, value); else nothing.
    pub fn members(&self, index: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let (mut at, end) = self.inside(index, Kind::Object);
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let pair = (at, at + 1);
            at = self.node(at + 1)?.next;
            Some(pair)
        })
    }

    /// The items of the array at `index`; else nothing.
    pub fn items(&self, index: u32) -> impl Iterator<Item = u32> + '_ {
        let (mut at, end) = self.inside(index, Kind::Array);
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let item = at;
            at = self.node(at)?.next;
            Some(item)
        })
    }

    /// The value of the last member of `object` whose key is written as `key`.
    #[must_use]
    pub fn get(&self, text: &str, object: u32, key: &str) -> Option<u32> {
        self.members(object).filter(|&(k, _)| self.raw(text, k) == key).last().map(|(_, v)| v)
    }

    /// What kind of node stands at `index`.
    #[must_use]
    pub fn kind(&self, index: u32) -> Option<Kind> {
        self.node(index).map(|n| n.kind)
    }

    /// How much the tape can hold without asking for memory.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.nodes.capacity()
    }

    fn inside(&self, index: u32, kind: Kind) -> (u32, u32) {
        match self.node(index) {
            Some(node) if node.kind == kind => (index + 1, node.next),
            _ => (0, 0),
        }
    }
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    tape: &'t mut Tape,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<usize, ParseError> {
        loop {
            // A value stands here.
            self.space();
            let opened = self.value()?;
            if opened {
                continue;
            }
            // A value has ended: close what it closes, or go on to the next.
            loop {
                let Some(&container) = self.tape.open.last() else {
                    return Ok(self.at);
                };
                let object = self.tape.kind(container) == Some(Kind::Object);
                self.space();
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if object => self.close(),
                    b']' if !object => self.close(),
                    _ => return Err(ParseError::Syntax(self.at)),
                }
            }
        }
    }

    /// Reads a value; true when it is a container with something in it, whose
    /// first value comes next.
    fn value(&mut self) -> Result<bool, ParseError> {
        match self.peek()? {
            b'{' => {
                self.begin(Kind::Object)?;
                self.space();
                if self.peek()? == b'}' {
                    self.close();
                    return Ok(false);
                }
                self.key()?;
                Ok(true)
            }
            b'[' => {
                self.begin(Kind::Array)?;
                self.space();
                if self.peek()? == b']' {
                    self.close();
                    return Ok(false);
                }
                Ok(true)
            }
            b'"' => self.string().map(|()| false),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number().map(|()| false),
        }
    }

    fn begin(&mut self, kind: Kind) -> Result<(), ParseError> {
        if self.tape.open.len() >= MAX_DEPTH {
            return Err(ParseError::Depth(self.at));
        }
        self.tape.open.push(offset(self.tape.nodes.len()));
        self.push(kind, self.at, self.at);
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.at += 1;
        let next = offset(self.tape.nodes.len());
        let end = offset(self.at);
        if let Some(index) = self.tape.open.pop()
            && let Some(node) = self.tape.nodes.get_mut(index as usize)
        {
            node.next = next;
            node.end = end;
        }
    }

    fn key(&mut self) -> Result<(), ParseError> {
        self.space();
        if self.peek()? != b'"' {
            return Err(ParseError::Syntax(self.at));
        }
        self.string()?;
        self.space();
        if self.peek()? != b':' {
            return Err(ParseError::Syntax(self.at));
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), ParseError> {
        let start = self.at + 1;
        self.at = start;
        let mut kind = Kind::Str;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            self.at += find_special(rest).ok_or(ParseError::Ended)?;
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    kind = Kind::EscStr;
                    self.escape()?;
                }
                0x7f => self.at += 1,
                _ => return Err(ParseError::Syntax(self.at)),
            }
        }
        self.push(kind, start, self.at);
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), ParseError> {
        let bad = ParseError::Syntax(self.at);
        match self.text.get(self.at + 1).ok_or(ParseError::Ended)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let rest = self.text.get(self.at..).unwrap_or_default();
                let first = hex4(rest.get(2..6)).ok_or(bad)?;
                self.at += 6;
                if (0xd800..0xdc00).contains(&first) {
                    let low = rest.get(6..8).filter(|x| *x == b"\\u");
                    let low = low.and_then(|_| hex4(rest.get(8..12))).ok_or(bad)?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(bad);
                    }
                    self.at += 6;
                } else if (0xdc00..0xe000).contains(&first) {
                    return Err(bad);
                }
            }
            _ => return Err(bad),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), ParseError> {
        let start = self.at;
        if self.byte() == b'-' {
            self.at += 1;
        }
        if self.byte() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.byte(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        self.push(Kind::Number, start, self.at);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), ParseError> {
        if !self.byte().is_ascii_digit() {
            return Err(if self.at >= self.text.len() {
                ParseError::Ended
            } else {
                ParseError::Syntax(self.at)
            });
        }
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<bool, ParseError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(ParseError::Syntax(self.at));
        }
        self.push(Kind::Word, self.at, self.at + word.len());
        self.at += word.len();
        Ok(false)
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize) {
        let next = offset(self.tape.nodes.len() + 1);
        self.tape.nodes.push(Node { kind, start: offset(start), end: offset(end), next });
    }

    fn space(&mut self) {
        while matches!(self.byte(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn peek(&self) -> Result<u8, ParseError> {
        self.text.get(self.at).copied().ok_or(ParseError::Ended)
    }

    /// The byte here; NUL (which begins nothing) behind the end.
    fn byte(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }
}

/// Offsets fit: the length of the text was checked, and a node takes a byte.
fn offset(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn value(tape: &Tape, text: &str, at: u32) -> Value {
        match tape.kind(at).unwrap() {
            Kind::Object => tape
                .members(at)
                .map(|(k, v)| (string(tape, text, k), value(tape, text, v)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Kind::Array => tape.items(at).map(|i| value(tape, text, i)).collect(),
            Kind::Str | Kind::EscStr => string(tape, text, at).into(),
            Kind::Number | Kind::Word => serde_json::from_str(tape.raw(text, at)).unwrap(),
        }
    }

    fn string(tape: &Tape, text: &str, at: u32) -> String {
        let mut out = Vec::new();
        crate::json::unescape_into(tape.raw(text, at).as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn agree(text: &str) {
        let mut tape = Tape::default();
        let ours = tape.parse(text).and_then(|end| {
            let rest = text[end..].trim_matches([' ', '\n', '\r', '\t']);
            if rest.is_empty() { Ok(()) } else { Err(ParseError::Syntax(end)) }
        });
        match serde_json::from_str::<Value>(text) {
            Ok(want) => {
                assert_eq!(ours, Ok(()), "{text:?}");
                assert_eq!(value(&tape, text, 0), want, "{text:?}");
            }
            // serde_json refuses numbers that no f64 holds; the grammar does not.
            Err(e) if e.to_string().contains("number out of range") => {}
            Err(_) => assert!(ours.is_err(), "{text:?}"),
        }
    }

    #[test]
    fn agrees_with_serde_json_on_the_corners() {
        for text in [
            "",
            " ",
            "{}",
            "[]",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "01",
            "-",
            "-0",
            "1.",
            "1e",
            "1e+5",
            "\"\\ud83d\\ude2e\"",
            "\"\\ud83d\"",
            "\"\\ude2e\"",
            "\"a\tb\"",
            "\"\u{7f}\"",
            "[[],{}]",
            "{\"a\":[1,{\"b\":null}],\"a\":true}",
            "tru",
            "nulls",
            "[1 2]",
            "{\"a\":1]",
            "\"abc",
        ] {
            agree(text);
        }
    }

    #[test]
    fn a_document_ends_where_it_ends_and_depth_is_bounded() {
        let mut tape = Tape::default();
        assert_eq!(tape.parse("{\"a\":1} trailing"), Ok(7));
        let deep = "[".repeat(MAX_DEPTH + 1);
        assert_eq!(tape.parse(&deep), Err(ParseError::Depth(MAX_DEPTH)));
        assert!(tape.node(0).is_none());
    }

    #[test]
    fn all_of_duplicate_keys_are_there_and_the_last_one_wins() {
        let text = r#"{"a":1,"a":2}"#;
        let mut tape = Tape::default();
        tape.parse(text).unwrap();
        assert_eq!(tape.members(0).count(), 2);
        assert_eq!(tape.raw(text, tape.get(text, 0, "a").unwrap()), "2");
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(".{0,6}", inner, 0..6)
                    .prop_map(|m| m.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_documents(v in json()) {
            agree(&v.to_string());
        }

        #[test]
        fn agrees_with_serde_json_on_damage(v in json(), at in any::<prop::sample::Index>(), c in any::<char>()) {
            let mut chars: Vec<char> = v.to_string().chars().collect();
            let at = at.index(chars.len());
            chars[at] = c;
            agree(&chars.into_iter().collect::<String>());
        }

        #[test]
        fn agrees_with_serde_json_on_noise(text in r#"[\[\]{}",:0-9eE.+\\untrf \-]{0,24}"#) {
            agree(&text);
        }
    }
}
