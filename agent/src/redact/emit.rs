//! Small writers for records: JSON fields into a byte buffer.

use crate::json::escape_into;

/// Appends `"key":` behind a comma.
pub(super) fn key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends `,"key":"value"`; the value is escaped, nothing else is done to it.
pub(super) fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    key(out, name);
    out.push(b'"');
    escape_into(value, out);
    out.push(b'"');
}

/// Appends `,"key":123`.
pub(super) fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    decimal(out, value);
}

/// Appends `,"key":true`.
pub(super) fn flag(out: &mut Vec<u8>, name: &str) {
    key(out, name);
    out.extend_from_slice(b"true");
}

/// Appends `value` in decimal.
pub(super) fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + u8::try_from(value % 10).unwrap_or(0));
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// Appends `bytes` in lower-case hex.
pub(super) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for b in bytes {
        let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
        out.extend([digit(b >> 4), digit(b & 15)]);
    }
}
