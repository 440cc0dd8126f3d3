//! What is asked: the facts of one request, without any type of an HTTP library.

/// The facts of one request that a decision rests on, borrowed.
#[derive(Clone, Copy)]
pub struct Visit<'a> {
    /// What the request asks for.
    pub method: Method,
    /// The one `Host` field; `None` if there was none or more than one.
    pub host: Option<&'a str>,
    /// The authority of an absolute-form target, which must then equal `host`.
    pub authority: Option<&'a str>,
    /// The path of the target, still escaped.
    pub path: &'a str,
    /// The query of the target, without its `?`.
    pub query: Option<&'a str>,
    /// The `Cookie` fields.
    pub cookies: &'a [&'a [u8]],
    /// The `Sec-Purpose` field, by which a browser announces a prefetch.
    pub purpose: Option<&'a [u8]>,
    /// When it is, in seconds since 1970.
    pub now: u64,
    /// The `Sec-GPC` field, by which a visitor opts out.
    pub gpc: Option<&'a [u8]>,
    /// The `Sec-Fetch-Mode` field.
    pub fetch_mode: Option<&'a [u8]>,
    /// The `Sec-Fetch-Dest` field.
    pub fetch_dest: Option<&'a [u8]>,
    /// The `User-Agent` field.
    pub user_agent: Option<&'a [u8]>,
    /// What a proxy that asks on the way says its visitor asked for: `X-Original-URI`, or else `X-Forwarded-Uri`.
    pub original_target: Option<&'a [u8]>,
    /// And by which method: `X-Original-Method` or `X-Forwarded-Method`.
    pub original_method: Option<Method>,
    /// Whether it came straight from a proxy that is trusted.
    pub trusted: bool,
    /// Random bits that nobody else gets, where they are wanted: an identity may be made of them.
    pub random: Option<[u8; 16]>,
    /// All fields, for the few rules that ask for one by name.
    pub fields: &'a dyn Fields,
}

/// The fields of a request.
pub trait Fields: Sync {
    /// What stands there under a name, which is given in lower case.
    fn find(&self, name: &str) -> Field<'_>;
}

/// What a request says under one name.
#[derive(Clone, Copy)]
pub enum Field<'a> {
    /// Nothing.
    Absent,
    /// One value.
    Once(&'a [u8]),
    /// Several, so that nobody can tell which one counts.
    Repeated,
}

/// A request without any.
impl Fields for () {
    fn find(&self, _: &str) -> Field<'_> {
        Field::Absent
    }
}

impl<'a> Visit<'a> {
    /// A plain visit of a page, in 1970: a GET that names a host, and nothing else. Whoever knows more of a visit, as
    /// tests and benchmarks do, says it with `..Visit::of(host, path)`.
    #[must_use]
    pub const fn of(host: &'a str, path: &'a str) -> Self {
        Self {
            method: Method::Get,
            host: Some(host),
            authority: None,
            path,
            query: None,
            cookies: &[],
            purpose: None,
            now: 0,
            gpc: None,
            fetch_mode: None,
            fetch_dest: None,
            user_agent: None,
            original_target: None,
            original_method: None,
            trusted: false,
            random: None,
            fields: &(),
        }
    }
}

/// The methods that matter; of two the greater one does less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Somebody goes there.
    Get,
    /// Somebody sends a form there.
    Post,
    /// Somebody looks whether it is there, which must change nothing.
    Head,
    /// Anything else, which is not served.
    Other,
}
