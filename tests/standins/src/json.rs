//! JSON with its text kept: a tree over the bytes that arrived, so that a number's decimals and an
//! event's exact text can be checked. Whether it is JSON at all is `serde_json`'s verdict.
//!
//! Refused beyond the grammar: a key that stands twice in one object.

use serde_json::Value;

/// One value and the text that it was read from.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) raw: &'a str,
    pub(crate) kind: Kind<'a>,
}

/// What a [`Node`] is; scalars are read from its text.
#[derive(Debug)]
pub(crate) enum Kind<'a> {
    Object(Vec<(String, Node<'a>)>),
    Array(Vec<Node<'a>>),
    String(String),
    Number,
    Bool,
    Null,
}

/// Why a text is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not JSON.
    Syntax(String),
    /// This key stands twice in one object.
    Duplicate(String),
}

/// A value that was read, as a tree over its text and as `serde_json` has it.
pub(crate) struct Parsed<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) value: Value,
    /// Where the text goes on after it.
    pub(crate) end: usize,
}

/// The first value of `text`; `None` when there is only white space.
pub(crate) fn first(text: &str) -> Option<Result<Parsed<'_>, Fault>> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = match stream.next()? {
        Ok(value) => value,
        Err(e) => return Some(Err(Fault::Syntax(e.to_string()))),
    };
    let end = stream.byte_offset();
    let mut scan = Scan { text, at: 0 };
    Some(scan.value().map(|node| Parsed { node, value, end }))
}

impl<'a> Node<'a> {
    /// The string that this is.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(s) => Some(s),
            _ => None,
        }
    }

    /// The members of the object that this is.
    pub(crate) fn members(&self) -> Option<&[(String, Node<'a>)]> {
        match &self.kind {
            Kind::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The object's member of that name.
    pub(crate) fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.members()?.iter().find(|(k, _)| k == key).map(|(_, node)| node)
    }

    /// How deep objects and arrays are nested: 0 for a scalar.
    pub(crate) fn depth(&self) -> usize {
        match &self.kind {
            Kind::Object(members) => 1 + members.iter().map(|(_, n)| n.depth()).max().unwrap_or(0),
            Kind::Array(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// A walk over text that is known to begin with valid JSON.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn value(&mut self) -> Result<Node<'a>, Fault> {
        self.blank();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.object()?,
            Some(b'[') => self.array()?,
            Some(b'"') => Kind::String(self.string()?),
            Some(b't' | b'f') => self.word(Kind::Bool),
            Some(b'n') => self.word(Kind::Null),
            _ => self.word(Kind::Number),
        };
        let raw = self.text.get(start..self.at).unwrap_or_default();
        Ok(Node { raw, kind })
    }

    fn object(&mut self) -> Result<Kind<'a>, Fault> {
        let mut members: Vec<(String, Node<'a>)> = Vec::new();
        self.at += 1;
        loop {
            self.blank();
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Ok(Kind::Object(members));
            }
            let key = self.string()?;
            if members.iter().any(|(k, _)| *k == key) {
                return Err(Fault::Duplicate(key));
            }
            self.blank();
            self.at += 1; // the colon
            let node = self.value()?;
            members.push((key, node));
            self.comma();
        }
    }

    fn array(&mut self) -> Result<Kind<'a>, Fault> {
        let mut items = Vec::new();
        self.at += 1;
        loop {
            self.blank();
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(Kind::Array(items));
            }
            items.push(self.value()?);
            self.comma();
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'\\') => self.at += 2,
                Some(b'"') => break self.at += 1,
                Some(_) => self.at += 1,
                None => return Err(Fault::Syntax("a string without an end".into())),
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        serde_json::from_str(raw).map_err(|e| Fault::Syntax(e.to_string()))
    }

    fn word(&mut self, kind: Kind<'a>) -> Kind<'a> {
        while let Some(b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.') = self.peek() {
            self.at += 1;
        }
        kind
    }

    fn comma(&mut self) {
        self.blank();
        if self.peek() == Some(b',') {
            self.at += 1;
        }
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_each_part_is_kept() {
        let text = r#" {"a":1.50,"b":[true,null,"x\"y"],"c":{}} {"next":1}"#;
        let parsed = first(text).unwrap().unwrap();
        assert_eq!(&text[parsed.end..], r#" {"next":1}"#);
        assert_eq!(parsed.node.raw, r#"{"a":1.50,"b":[true,null,"x\"y"],"c":{}}"#);
        assert_eq!(parsed.node.get("a").unwrap().raw, "1.50");
        assert_eq!(parsed.node.get("b").unwrap().raw, r#"[true,null,"x\"y"]"#);
        assert_eq!(parsed.node.depth(), 2);
        assert_eq!(parsed.value["b"][2], "x\"y");
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth_and_however_written() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#] {
            assert_eq!(first(text).unwrap().err(), Some(Fault::Duplicate("a".into())), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["{", "{\"a\":}", "{'a':1}", "\"\\ud800\"", "{\"a\":01}", "nul", "{\"a\":1,}"] {
            assert!(matches!(first(text), Some(Err(Fault::Syntax(_)))), "{text}");
        }
        assert!(first(" \n").is_none());
    }
}
