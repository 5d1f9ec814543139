//! Links in what comes back through a proxy: those to the proxied server itself are led through the proxy, in redirects and in HTML.

use std::borrow::Cow;

/// Which attributes of which elements are links (HTML 4 and 5).
const LINKS: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];
/// What is inside these is no markup.
const RAW: [&str; 4] = ["script", "style", "textarea", "title"];

/// Where a proxied server appears to be, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The path before that of the proxied server: `/api/v1/namespaces/a/pods/b/proxy`.
    pub(super) prefix: String,
    /// Host and port of the proxied server.
    pub(super) backend: String,
    /// The host that the client asked for.
    pub(super) host: String,
}

impl Place {
    /// A link as it has to be to lead through the proxy; links to elsewhere and relative ones stay.
    pub(super) fn rewrite<'a>(&self, link: &'a str) -> Cow<'a, str> {
        let (scheme, after) = match link.split_once("://") {
            Some((scheme, after)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => (scheme, Some(after)),
            _ => ("", link.strip_prefix("//")),
        };
        let (host, rest) = match after {
            Some(after) => after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len())),
            None => ("", link),
        };
        let (path, tail) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
        if !host.is_empty() && host != self.backend && host != self.host || !path.starts_with('/') {
            return Cow::Borrowed(link);
        }
        let mut out = String::with_capacity(link.len() + self.prefix.len());
        // the client's own host is right as it is; the server's address means nothing to it
        if host == self.host && !host.is_empty() {
            if !scheme.is_empty() {
                out += scheme;
                out.push(':');
            }
            out += "//";
            out += host;
        }
        if path.starts_with(&self.prefix) {
            out += path;
        } else {
            out += &self.prefix;
            out += &clean(path);
        }
        out += tail;
        Cow::Owned(out)
    }

    /// HTML with its links rewritten; all else stays byte for byte.
    pub(super) fn rewrite_html(&self, html: &str) -> String {
        let mut out = String::with_capacity(html.len() + html.len() / 8);
        let mut rest = html;
        while let Some(at) = rest.find('<') {
            out += &rest[..at];
            rest = &rest[at..];
            let (markup, after) = rest.split_at(end_of_markup(rest));
            rest = after;
            let Some(name) = element(markup) else {
                out += markup;
                continue;
            };
            match LINKS.iter().find(|(n, _)| name.eq_ignore_ascii_case(n)) {
                Some((_, attributes)) => self.rewrite_element(markup, attributes, &mut out),
                None => out += markup,
            }
            if let Some(raw) = RAW.iter().find(|r| name.eq_ignore_ascii_case(r)) {
                let text = rest.split_at(end_of_raw(rest, raw));
                out += text.0;
                rest = text.1;
            }
        }
        out + rest
    }

    fn rewrite_element(&self, markup: &str, links: &[&str], out: &mut String) {
        let mut copied = 0;
        for (name, value) in attributes(markup) {
            if links.iter().any(|l| name.eq_ignore_ascii_case(l)) {
                out.push_str(&markup[copied..value.start]);
                out.push_str(&self.rewrite(&markup[value.clone()]));
                copied = value.end;
            }
        }
        out.push_str(&markup[copied..]);
    }
}

/// A path without `.`, `..` and empty parts; a final slash stays.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut out = String::with_capacity(path.len());
    for part in &parts {
        out.push('/');
        out += part;
    }
    if path.ends_with('/') {
        out.push('/');
    }
    out
}

/// Where the comment, declaration or tag at the beginning of `text` ends.
fn end_of_markup(text: &str) -> usize {
    let until = |end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
    if text.starts_with("<!--") {
        return until("-->");
    }
    if element(text).is_none() {
        // an end tag, a declaration, or just a character
        let tag = text[1..].starts_with(['/', '!', '?']);
        return if tag { until(">") } else { 1 };
    }
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return at + 1,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    text.len()
}

/// The name of the start tag at the beginning of `text`.
fn element(text: &str) -> Option<&str> {
    let name = text.strip_prefix('<')?;
    let name = &name[..name.find(|c: char| c.is_whitespace() || c == '/' || c == '>').unwrap_or(name.len())];
    name.starts_with(|c: char| c.is_ascii_alphabetic()).then_some(name)
}

/// Where raw text ends: before its end tag.
fn end_of_raw(text: &str, name: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find("</").map(|at| from + at) {
        if text[at + 2..].get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name)) {
            return at;
        }
        from = at + 2;
    }
    text.len()
}

/// Names and places of the values of a tag's attributes.
fn attributes(markup: &str) -> Vec<(&str, std::ops::Range<usize>)> {
    let bytes = markup.as_bytes();
    let skip = |mut at: usize, stop: &dyn Fn(u8) -> bool| {
        while at < bytes.len() && !stop(bytes[at]) {
            at += 1;
        }
        at
    };
    let space = |b: u8| b.is_ascii_whitespace() || b == b'/';
    let mut out = Vec::new();
    let mut at = skip(1, &|b| space(b) || b == b'>');
    loop {
        at = skip(at, &|b| !space(b));
        let name = at..skip(at, &|b| space(b) || b == b'=' || b == b'>');
        if name.is_empty() {
            return out;
        }
        at = skip(name.end, &|b| !b.is_ascii_whitespace());
        if bytes.get(at) != Some(&b'=') {
            continue;
        }
        at = skip(at + 1, &|b| !b.is_ascii_whitespace());
        let value = match bytes.get(at) {
            Some(quote @ (b'"' | b'\'')) => at + 1..skip(at + 1, &|b| b == *quote),
            _ => at..skip(at, &|b| b.is_ascii_whitespace() || b == b'>'),
        };
        let quoted = value.start > at;
        at = (value.end + usize::from(quoted)).min(bytes.len());
        out.push((&markup[name], value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "/api/v1/namespaces/a/pods/b/proxy";

    fn place() -> Place {
        Place { prefix: PREFIX.into(), backend: "10.244.0.7:80".into(), host: "localhost:8001".into() }
    }

    #[test]
    fn links_lead_through_the_proxy() {
        for (link, expected) in [
            ("/", "P/"),
            ("/x", "P/x"),
            ("/x/", "P/x/"),
            ("/x/../y//z?q=/&r#f", "P/y/z?q=/&r#f"),
            ("http://10.244.0.7:80/x", "P/x"),
            ("//10.244.0.7:80/x", "P/x"),
            ("http://localhost:8001/x", "http://localhost:8001P/x"),
            ("//localhost:8001/x", "//localhost:8001P/x"),
            ("http://elsewhere.example/x", "http://elsewhere.example/x"),
            ("http://10.244.0.7:80", "http://10.244.0.7:80"),
            ("x/y", "x/y"),
            ("?q", "?q"),
            ("#f", "#f"),
            ("", ""),
            ("mailto:a@b", "mailto:a@b"),
            ("P/x", "P/x"),
        ] {
            let (link, expected) = (link.replace('P', PREFIX), expected.replace('P', PREFIX));
            assert_eq!(place().rewrite(&link), expected, "{link}");
        }
    }

    #[test]
    fn html_keeps_everything_but_links() {
        for (html, expected) in [
            (r#"<a href="/x">/x</a>"#, r#"<a href="P/x">/x</a>"#),
            ("<A class=b HREF = '/x' id=/x>", "<A class=b HREF = 'P/x' id=/x>"),
            ("<img src=/x alt='>'><br/>", "<img src=P/x alt='>'><br/>"),
            ("<!-- <a href='/x'> -->", "<!-- <a href='/x'> -->"),
            ("<!DOCTYPE html>\n<p>1 < 2 & <b", "<!DOCTYPE html>\n<p>1 < 2 & <b"),
            (
                r#"<script src="/s">if (a</b) "<a href='/x'>"</script><link href="/c"/>"#,
                r#"<script src="P/s">if (a</b) "<a href='/x'>"</script><link href="P/c"/>"#,
            ),
            ("<a href>ä</a><a href=", "<a href>ä</a><a href="),
            (r#"<a href="http://e.example/x"><form action="/f"#, r#"<a href="http://e.example/x"><form action="P/f"#),
        ] {
            assert_eq!(place().rewrite_html(html), expected.replace("P/", &format!("{PREFIX}/")), "{html}");
        }
    }
}
