//! Database errors: PostgreSQL's lines (one by one, or gathered into one text),
//! InnoDB's dumps, MySQL error texts, bare SQL.

/// What a line of a database is.
#[derive(Debug, Clone, Copy)]
pub enum Db<'a> {
    /// A deadlock: SQLSTATE or MySQL error number.
    Deadlock(&'static str),
    /// Another error: the engine, and its message (values may stand in it).
    Error(&'static str, &'a str),
    /// DETAIL, HINT, CONTEXT, STATEMENT on a line of its own.
    Part(&'static str),
    /// A statement or a piece of one: values stand in it.
    Statement,
    /// Row data.
    Row,
}

/// PostgreSQL's severities and parts, and whether each is an error.
const LEVELS: &[(&str, bool)] = &[
    ("ERROR", true),
    ("FATAL", true),
    ("PANIC", true),
    ("WARNING", true),
    ("DETAIL", false),
    ("HINT", false),
    ("CONTEXT", false),
    ("STATEMENT", false),
    ("QUERY", false),
    ("LOCATION", false),
];

impl<'a> Db<'a> {
    /// Reads a line, or several that were gathered into one text.
    #[must_use]
    pub fn of(text: &'a str) -> Option<Self> {
        postgres(text).or_else(|| mysql(text)).or_else(|| statement(text))
    }
}

fn postgres(text: &str) -> Option<Db<'_>> {
    let colon = memchr::memmem::find(text.as_bytes(), b":  ")?;
    let head = text.get(..colon)?;
    let &(level, error) = LEVELS
        .iter()
        .find(|(l, _)| head.strip_suffix(l).is_some_and(|h| h.is_empty() || h.ends_with(' ')))?;
    if !error {
        return Some(Db::Part(level));
    }
    let body = text.get(colon + 3..)?;
    if memchr::memmem::find(body.as_bytes(), b"deadlock detected").is_some() {
        return Some(Db::Deadlock("40P01"));
    }
    // What is gathered behind the message (DETAIL, STATEMENT) holds values.
    Some(Db::Error("postgresql", body.split('\n').next().unwrap_or("")))
}

fn mysql(text: &str) -> Option<Db<'_>> {
    let has = |s: &str| memchr::memmem::find(text.as_bytes(), s.as_bytes()).is_some();
    if has("eadlock")
        && (has("InnoDB")
            || has("LATEST DETECTED")
            || has("1213")
            || has("when trying to get lock"))
    {
        return Some(Db::Deadlock("1213"));
    }
    let row = text.trim_start();
    if has("; hex ") && has(": len ") && row.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(Db::Row);
    }
    // A row's columns may reach over lines: `asc` alone.
    if row.starts_with("asc ") && row.ends_with(";;") {
        return Some(Db::Row);
    }
    let error = has("SQLSTATE[") || has("Duplicate entry '") || text.starts_with("ERROR 1");
    error.then_some(Db::Error("mysql", text))
}

/// Whether a line is (or goes on with) SQL that holds values.
fn statement(text: &str) -> Option<Db<'_>> {
    const VERBS: &[&str] =
        &["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "CALL", "MERGE"];
    const MORE: &[&str] =
        &["AND", "OR", "WHERE", "SET", "VALUES", "FROM", "JOIN", "LEFT", "INNER", "ON"];
    let body = text.trim_start();
    let word = body.split([' ', '\t', '\n', '(']).next()?;
    let is = |list: &[&str]| list.iter().any(|v| v.eq_ignore_ascii_case(word));
    let indented = body.len() < text.len();
    let upper = word.bytes().all(|c| c.is_ascii_uppercase());
    let sql = (is(VERBS) && (upper || is_sql(body))) || (indented && upper && is(MORE));
    // A TAB goes on with something of the line before; Java's frames are known.
    let tab = text.starts_with('\t') && !body.starts_with("at ") && !body.starts_with("... ");
    (sql || tab).then_some(Db::Statement)
}

/// Whether SQL with values stands anywhere in `text`.
#[must_use]
pub fn is_sql(text: &str) -> bool {
    let has = |s: &[u8]| memchr::memmem::find(text.as_bytes(), s).is_some();
    (has(b"INSERT INTO ") && has(b"VALUES"))
        || (has(b"insert into ") && has(b"values"))
        || (has(b"UPDATE ") && has(b" SET "))
        || (has(b"update ") && has(b" set "))
        || ((has(b"SELECT ") || has(b"DELETE FROM ")) && has(b" WHERE "))
        || ((has(b"select ") || has(b"delete from ")) && has(b" where "))
}

/// The tables that `text` names, at most eight, each once.
pub fn tables(text: &str) -> impl Iterator<Item = &str> {
    const BEFORE: &[&str] = &["FROM", "UPDATE", "INTO", "JOIN", "TABLE", "RELATION"];
    const NEVER: &[&str] = &["set", "select", "only", "if", "not", "where", "lateral", "the", "a"];
    let mut words = text
        .split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | ';' | '='))
        .filter(|w| !w.is_empty());
    let mut seen = [""; 8];
    let mut count = 0;
    std::iter::from_fn(move || {
        loop {
            let word = words.next()?;
            if count >= seen.len() || !BEFORE.iter().any(|b| b.eq_ignore_ascii_case(word)) {
                continue;
            }
            let Some(name) = words.clone().next() else {
                continue;
            };
            let name = name.trim_matches(['"', '\'']);
            let never = NEVER.iter().any(|n| n.eq_ignore_ascii_case(name));
            if never || !is_table(name) || seen.contains(&name) {
                continue;
            }
            if let Some(to) = seen.get_mut(count) {
                *to = name;
            }
            count += 1;
            return Some(name);
        }
    })
}

/// A table's name, schema and back quotes allowed, no long numbers.
fn is_table(name: &str) -> bool {
    let first = name.trim_start_matches('`').bytes().next();
    let shape = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'`' | b'"' | b'$');
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == b'_')
        && name.len() <= 96
        && name.bytes().all(shape)
        && !super::rules::has_digits(name.as_bytes(), 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlocks_are_told_with_their_tables() {
        let text = "2026-10-18 14:53:56.152 UTC [1] ERROR:  deadlock detected\n2026 UTC [1] DETAIL:  Process 1\n\tProcess 2: UPDATE wa_message SET body='x'\nCONTEXT:  while locking tuple (19,39) in relation \"wa_contact\"";
        assert!(matches!(Db::of(text), Some(Db::Deadlock("40P01"))));
        assert_eq!(tables(text).collect::<Vec<_>>(), ["wa_message", "wa_contact"]);
        let inno = "2026-12-19 10:27:46 26 [Note] InnoDB: Transactions deadlock detected, dumping detailed information.";
        assert!(matches!(Db::of(inno), Some(Db::Deadlock("1213"))));
    }

    #[test]
    fn statements_rows_and_parts_are_told() {
        assert!(matches!(Db::of("UPDATE t SET a = 'x' WHERE b"), Some(Db::Statement)));
        assert!(matches!(Db::of("      AND idsite IN (138)"), Some(Db::Statement)));
        assert!(matches!(Db::of("\tversion = 1"), Some(Db::Statement)));
        assert!(matches!(Db::of(" 0: len 4; hex 00075293; asc   R ;;"), Some(Db::Row)));
        assert!(matches!(
            Db::of("2026 UTC [1] DETAIL:  Key (wa_id)=(1) exists"),
            Some(Db::Part("DETAIL"))
        ));
        assert!(Db::of("Uploading certificate to db").is_none());
        assert!(Db::of("Update finished").is_none());
    }
}
