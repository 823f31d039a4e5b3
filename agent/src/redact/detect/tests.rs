use super::*;

fn scanner() -> Scanner {
    Scanner::new(Tokens::new(&[1; 32]), true, false, true)
}

/// Scans, with each token written as `T`.
fn scan(text: &str) -> String {
    let mut out = Vec::new();
    scanner().scan(text.as_bytes(), &mut out);
    let out = String::from_utf8(out).unwrap();
    let mut short = String::new();
    let mut rest = out.as_str();
    while let Some(at) = rest.find("t1.") {
        short.push_str(&rest[..at]);
        short.push('T');
        rest = &rest[at + 25..];
    }
    short + rest
}

#[test]
fn numbers_in_every_dress_are_taken_out() {
    for (text, want) in [
        ("remoteJid=919876500001@s.whatsapp.net", "remoteJid=[phone:9198****01:T]@s.whatsapp.net"),
        ("79001230001@c.us", "[phone:7900****01:T]@c.us"),
        ("120363025246000001@g.us", "[group:T]@g.us"),
        ("5511999990001-1612345678@g.us", "[group:T]@g.us"),
        ("123456789012345@lid", "[user:T]@lid"),
        ("call (415) 555-0132", "call [phone:4155****32:T]"),
        ("(415) 555-0132", "[phone:4155****32:T]"),
        ("415-555-0132 200", "[phone:4155****32:T] 200"),
        ("+91 98765 00001", "[phone:9198****01:T]"),
        ("91 98765 00001", "[phone:9198****01:T]"),
        ("x 15550001111 y", "x [phone:1555****11:T] y"),
        ("0049 171 1234567", "[phone:4917****67:T]"),
        ("0171/1234567", "[phone:0171****67:T]"),
        // Luhn and Visa's prefix fit as well, but 49 171… is a German mobile.
        ("4917139200291", "[phone:4917****91:T]"),
        ("to=972987654321&x=1", "to=[phone:9729****21:T]&x=1"),
        (
            "Created database \\\"908502420001configStore\\\"",
            "Created database \\\"[phone:9085****01:T]configStore\\\"",
        ),
        ("%2B1%20555%20000%201111", "[phone:1555****11:T]"),
        ("\\u0031\\u0035550001111", "[phone:1555****11:T]"),
        ("hex 3135353530303031313131; asc 15550001111;;", "hex [hex]; asc [phone:1555****11:T];;"),
        ("b64 MTU1NTAwMDExMTE=", "b64 [base64]"),
        ("٠١٥٥٥ +١٥٥٥٠٠٠١١١١", "01555 [phone:1555****11:T]"),
        ("wamid.HBgLMTU1NTAwMDExMTEVAgASGBQzQUFG==", "[message:T]"),
        ("gBGGFVUAAREfAgnLqXnxl1BBBB", "[message:T]"),
        ("US.13491208655300000001", "[user:T]"),
    ] {
        let text = text.replace("\\\"", "\"");
        assert_eq!(scan(&text), want, "{text}");
    }
}

#[test]
fn what_is_no_number_stays() {
    for text in [
        "t=1697043223",
        "1697043223123",
        "trace_id=4bf92f3577b34da6a3ce929d0e0e4736",
        "create_configStore_140639843464128",
        "free_space_logs: 14269902848",
        "phone_number_id=106540352242922",
        "2021-12-15 12:20:42.060 UTC 19 a.cpp:335] x",
        "2024-11-04T13:02:44.625123456+00:00",
        "550e8400-e29b-41d4-a716-446655440000",
        "MYSQL_OPT_CONNECT_TIMEOUT=15;MYSQL_OPT_READ_TIMEOUT=30",
        "0.0.0.0 port 6253",
        "GET / HTTP/1.1 200 1234",
        "ssl3_get_record:http request",
        "Doctrine/DBAL/Driver.php(2)",
        "/opt/whatsapp/bin/launch_within_docker.sh",
        "100%",
    ] {
        assert_eq!(scan(text), text);
    }
}

#[test]
fn secrets_and_other_people_are_taken_out() {
    for (text, want) in [
        ("mail ana.b+x@example.org.", "mail [email:T]."),
        ("a15550001111@example.org", "[email:T]"),
        ("4111 1111 1111 1111", "[card]"),
        ("card 5500-0000-0000-0004,", "card [card],"),
        ("378282246310005", "[card]"),
        ("DE89 3704 0044 0532 0130 00 ok", "[iban] ok"),
        ("GB82WEST12345698765432", "[iban]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln x", "[secret] x"),
        ("Authorization: Bearer abc.def-123 x", "Authorization: [secret] x"),
        ("bearer abcdef123", "bearer [secret]"),
        ("EAAJZBqaZCm7UBAKfZC5QZDZD12", "[secret]"),
        ("AKIAIOSFODNN7EXAMPLE", "[secret]"),
        ("db_password=hunter2 x", "db_password=[secret] x"),
        ("PASSWORD: 'a b' x", "PASSWORD: '[secret]' x"),
        ("?hub.verify_token=abc&x=1", "?hub.verify_token=[secret]&x=1"),
        ("mysql://root:pw@db:3306/wa", "mysql://[secret]@db:3306/wa"),
        (
            "GET https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=77&hash=ATv8 as",
            "GET https://lookaside.fbsbx.com[media] as",
        ),
        ("-----BEGIN PRIVATE KEY-----MIIE-----END PRIVATE KEY----- x", "[secret] x"),
        ("10.60.17.200:6253", "[ip:T]:6253"),
        ("(\"::ffff:10.60.17.200\")", "(\\\"[ip:T]\\\")"),
        ("body=Hello dear friend req_id=Main", "body=[content] req_id=Main"),
        (
            "{ from: '15550001111', text: { body: 'hi' } }",
            "{ from: '[phone:1555****11:T]', text: [content] }",
        ),
        ("{\\\"body\\\":\\\"see you\\\"}", "{\\\"body\\\":\\\"[content]\\\"}"),
        ("pushName: \"Ana\"", "pushName: \\\"[content]\\\""),
    ] {
        assert_eq!(scan(text), want, "{text}");
    }
}

#[test]
fn a_text_that_looks_like_a_marker_is_no_marker() {
    let out = scan("[phone:15550001111:t1.aaaaaaaaaaaaaaaaaaaaaa]");
    assert!(!out.contains("15550001111"), "{out}");
}

#[test]
fn all_dresses_of_a_number_get_one_token() {
    let token = |text: &str| {
        let mut out = Vec::new();
        scanner().scan(text.as_bytes(), &mut out);
        let out = String::from_utf8(out).unwrap();
        out[out.find("t1.").unwrap()..][..25].to_owned()
    };
    let want = token("15550001111");
    for text in [
        "+1 555 000-1111",
        "0015550001111",
        "15550001111@s.whatsapp.net",
        "from=15550001111",
        "%2B15550001111",
    ] {
        assert_eq!(token(text), want, "{text}");
    }
}
