//! What only attackers write into a URL, and what two programs may read in two ways.

use super::target::BadTarget;

/// Refuses what only attackers write, before the parser gets to see it.
pub(super) fn check(text: &str) -> Result<(), BadTarget> {
    if text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err(BadTarget::ControlOrSpace);
    }
    let before_query = text.split(['?', '#']).next().unwrap_or_default();
    if before_query.contains('\\') {
        return Err(BadTarget::Backslash);
    }
    let (scheme, rest) = before_query.split_once("://").ok_or(BadTarget::Scheme)?;
    let is_web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    if !is_web || rest.starts_with('/') {
        return Err(BadTarget::Scheme);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err(BadTarget::UserInfo);
    }
    // Looked for twice: the parser drops the dot behind an IP address, and makes one of `。`.
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    if (if port.ends_with(']') { authority } else { host }).ends_with('.') {
        return Err(BadTarget::TrailingDot);
    }
    // The parser takes these for drives, above which no `..` leads, as the Standard does in `file:` URLs alone.
    let is_drive = |segment: &str| matches!(segment.as_bytes(), [b'a'..=b'z' | b'A'..=b'Z', b':' | b'|']);
    if path.split('/').any(is_drive) && !is_plain_path(path) {
        return Err(BadTarget::Path);
    }
    Ok(())
}

/// Whether a path is free of all that two programs may read in two ways: a dot segment, an empty segment (one slash at
/// the end is none), `\`, an escaped slash or backslash, and `;`.
pub(super) fn is_plain_path(path: &str) -> bool {
    let segments = path.strip_prefix('/').unwrap_or(path);
    let segments = segments.strip_suffix('/').unwrap_or(segments);
    (segments.is_empty() && !path.starts_with("//"))
        || (!path.contains(['\\', ';']) && segments.split('/').all(is_plain_segment))
}

fn is_plain_segment(segment: &str) -> bool {
    if segment.is_empty() {
        return false;
    }
    if !segment.contains(['.', '%']) {
        return true;
    }
    let lower = segment.to_ascii_lowercase();
    let dots = lower.replace("%2e", ".");
    !lower.contains("%2f") && !lower.contains("%5c") && dots != "." && dots != ".."
}
