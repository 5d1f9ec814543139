//! `Warning` headers (RFC 7234, code 299): each text once, cut when there are too many.

use http::HeaderValue;

/// All texts together may have so many characters; more, and each is cut.
const MAX_ALL: usize = 4 * 1024;
/// What a text is cut to then.
const MAX_EACH: usize = 256;

/// The headers of these warnings. A text that cannot stand in a header (control characters) has none.
pub fn headers(warnings: impl IntoIterator<Item = String>) -> Vec<HeaderValue> {
    let mut texts: Vec<String> = Vec::new();
    for text in warnings {
        if !text.is_empty() && !text.contains(char::is_control) && !texts.contains(&text) {
            texts.push(text);
        }
    }
    if texts.iter().map(|t| t.chars().count()).sum::<usize>() > MAX_ALL {
        let mut written = 0;
        texts.retain_mut(|text| {
            let fits = written < MAX_ALL;
            *text = text.chars().take(MAX_EACH).collect();
            written += text.chars().count();
            fits
        });
    }
    texts.iter().filter_map(|text| HeaderValue::from_bytes(header(text).as_bytes()).ok()).collect()
}

fn header(text: &str) -> String {
    format!("299 - \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_become_headers() {
        let long = |c: char| c.to_string().repeat(1000);
        let cut = |c: char| format!("299 - \"{}\"", c.to_string().repeat(256));
        for (warnings, expected) in [
            (vec!["a".to_string(), "b".into(), "a".into()], vec!["299 - \"a\"".to_string(), "299 - \"b\"".into()]),
            (vec![r#"field "x\y""#.into(), "".into(), "a\nb".into()], vec![r#"299 - "field \"x\\y\"""#.into()]),
            (vec!["ü".into()], vec!["299 - \"ü\"".into()]),
            ("abcde".chars().map(long).collect(), "abcde".chars().map(cut).collect()),
        ] {
            let got: Vec<String> =
                headers(warnings).iter().map(|h| String::from_utf8_lossy(h.as_bytes()).into_owned()).collect();
            assert_eq!(got, expected);
        }
    }
}
