//! What would happen to this link, and why? Each step of the decision, in words.
//!
//! It makes the request that a browser would send and takes it the server's own way, so it can't say anything
//! else. Only whether a token was used before it does not know.

use std::fmt::{Display, Write};
use std::time::SystemTime;

use hyper::header::{COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Version};
use url::{Position, Url};

use crate::http::head::Asked;
use crate::http::response;
use crate::link::{
    Decision, Forget, HandOff, Identify, Land, Linker, NotCarried, Outcome, Pair, Refusal, Sealed, Step, Tell, Trace,
    Unheard, Untold, Visit,
};

/// A request as somebody writes it down.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The method.
    pub method: &'a Method,
    /// The whole address; without a scheme it is https.
    pub url: &'a str,
    /// `Cookie` fields.
    pub cookies: &'a [String],
    /// Other fields, as `Name: value`; `Host` replaces the URL's.
    pub headers: &'a [String],
    /// Whether it comes from a trusted proxy.
    pub trusted: bool,
}

/// What no browser could ask.
#[derive(Debug)]
pub struct Unaskable {
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// What would happen.
pub struct Explained {
    /// Each step, and the head of the answer.
    pub text: String,
    /// Whether nothing is served, or, to a proxy that asks, nothing could land.
    pub refused: bool,
}

/// Asks the decision.
///
/// # Errors
///
/// The question is none that a browser could ask.
pub fn explain(linker: &Linker, question: Question<'_>) -> Result<Explained, Unaskable> {
    let head = request(question)?;
    let mut explanation = Explanation { text: format!("{} {}\n\n", question.method, question.url), is_origin: false };
    let asked = Asked::of(&head);
    let visit = Visit { trusted: question.trusted, random: Some(EXAMPLE), ..asked.visit(SystemTime::now()) };
    let decision = linker.decide_traced(&visit, &mut explanation);
    explanation.conclude(&decision, linker, &head);
    Ok(Explained { refused: decision.refusal().is_some(), text: explanation.text })
}

/// The head of the request that a browser would send for the URL: read by the URL Standard, as browsers do. Only dot
/// segments stay as they are written: browsers never send them, the server refuses them, and that is what is asked.
fn request(question: Question<'_>) -> Result<Parts, Unaskable> {
    let no_url = |why: &dyn Display| Unaskable {
        problem: format!("`{}` is no URL that a browser can ask for: {why}", question.url),
        hint: "write it in quotes and whole, such as 'https://www.yoursite.com/go/checkout'",
    };
    let text = question.url;
    if text.starts_with('/') {
        return Err(no_url(&"it names no host"));
    }
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&whole).map_err(|error| no_url(&error))?;
    let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
    let host = host.ok_or_else(|| no_url(&"it does not begin with https:// or http://"))?;
    let target = dotted_target(&whole).unwrap_or(&url[Position::BeforePath..Position::AfterQuery]);
    let request = Request::builder().method(question.method).uri(target).version(Version::HTTP_11);
    let (mut head, ()) = request.body(()).map_err(|error| no_url(&error))?.into_parts();
    for cookie in question.cookies {
        head.headers.append(COOKIE, header_value(field(cookie)?)?);
    }
    for header in question.headers {
        let (name, value) = header.split_once(':').ok_or_else(|| no_header(header))?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| no_header(header))?;
        head.headers.append(name, header_value(value.trim())?);
    }
    if !head.headers.contains_key(HOST) {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        head.headers.insert(HOST, header_value(&format!("{host}{port}"))?);
    }
    Ok(head)
}

/// Path and query of a URL as they are written, if the path has segments that the URL Standard takes out.
fn dotted_target(url: &str) -> Option<&str> {
    let (_, rest) = url.trim().split_once("://")?;
    let (rest, _) = rest.split_once('#').unwrap_or((rest, ""));
    let (_, target) = rest.split_at_checked(rest.find(['/', '?'])?)?;
    let path = target.split('?').next()?;
    let is_dots = |segment: &str| matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | "..");
    path.split('/').any(is_dots).then_some(target)
}

/// The value of a `Cookie` field, which may be pasted with its name.
fn field(cookie: &str) -> Result<&str, Unaskable> {
    let (name, value) = cookie.split_once(':').unwrap_or_default();
    let value = if name.trim().eq_ignore_ascii_case("cookie") { value } else { cookie };
    if value.contains('=') { Ok(value.trim()) } else { Err(no_header(cookie)) }
}

fn header_value(text: &str) -> Result<HeaderValue, Unaskable> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| no_header(text))
}

fn no_header(text: &str) -> Unaskable {
    Unaskable {
        problem: format!("`{text}` can't stand in a header"),
        hint: "write --header 'Name: value' or --cookie 'name=value', without control characters",
    }
}

/// One line a step: a word for what was looked at, and what was found.
struct Explanation {
    text: String,
    /// Whether visitors start at the host that was asked.
    is_origin: bool,
}

impl Explanation {
    fn line(&mut self, what: &str, found: impl Display) {
        // Writing to a text does not fail.
        let _ = writeln!(self.text, "{what:<9} {found}");
    }

    fn conclude(&mut self, decision: &Decision<'_>, linker: &Linker, head: &Parts) {
        match decision {
            Decision::HandOff(HandOff { carried: Ok(class), .. }) => {
                self.line("class", class.as_str());
                self.line("answer", "redirected, with the identity");
            }
            Decision::HandOff(HandOff { carried: Err(why), .. }) => {
                self.line(
                    "answer",
                    format!("redirected without an identity ({}): {}", why.as_str(), no_identity(*why)),
                );
            }
            Decision::Land(Land { outcome, class, first_use, .. }) => {
                if let Some(class) = class {
                    self.line("class", class.as_str());
                }
                if first_use.is_some() {
                    self.line("token", "must not have been used before; only the server knows that");
                }
                self.line("answer", format!("the clean URL; {} ({})", landed(*outcome), outcome.as_str()));
            }
            Decision::Identify(identify) => self.identified(identify, linker),
            Decision::Script => self.line("answer", "the script that sends this site's links here"),
            Decision::Pairs(list) => self.line("answer", format!("what the script may send here: {list}")),
            Decision::Forget(Forget { set_cookies, .. }) if set_cookies.is_empty() => {
                self.line("answer", "forgotten: no identity cookie is set here, so there is none to end");
            }
            Decision::Forget(_) => self.line("answer", "forgotten: every identity cookie that is set here ends"),
            Decision::HonoursGpc => self.line("answer", "this origin says that it honours Sec-GPC"),
            Decision::Refuse(refusal, _) => {
                if let (Refusal::UnknownHost, Some(host)) = (refusal, head.headers.get(HOST)) {
                    self.line("host", format!("{} is not in the file", String::from_utf8_lossy(host.as_bytes())));
                }
                self.line("answer", format!("refused ({}): {}", refusal.code(), self.advice(*refusal, linker)));
            }
        }
        self.told(decision);
        self.answer(&response::of(decision.clone(), &head.method, HeaderMap::new()));
    }

    /// What KISSmetrics hears of it. A token that was used before leaves nothing to tell.
    fn told(&mut self, decision: &Decision<'_>) {
        let Some(tell) = decision.tell() else { return };
        let Tell { person, alias, event, .. } = tell;
        if let Some(alias) = alias {
            self.line("told", format!("{} is also {}, which can't be undone", alias.reveal(), person.reveal()));
        }
        if let Some(event) = event {
            let properties: Vec<String> = tell.properties().map(|(name, value)| format!("{name} {value}")).collect();
            self.line("told", format!("{}: {event} ({})", person.reveal(), properties.join(", ")));
        }
    }

    /// Whatever a proxy learns, it serves the page.
    fn identified(&mut self, identify: &Identify<'_>, linker: &Linker) {
        let learns = match identify {
            Identify::Landed(Land { outcome, class, .. }) => {
                if let Some(class) = class {
                    self.line("class", class.as_str());
                }
                format!("{} ({})", landed(*outcome), outcome.as_str())
            }
            Identify::Nothing => "its URL names no identity (no_identity)".to_owned(),
            Identify::Refused(Refusal::NotFound, _) => {
                "no cookie (not_found): no pair with this destination has a `landing`; add `landing: {}`".to_owned()
            }
            Identify::Refused(refusal, _) => {
                format!("no cookie ({}): {}", refusal.code(), self.advice(*refusal, linker))
            }
        };
        self.line("answer", format!("the proxy may serve the page; {learns}"));
    }

    /// What the operator can do about a refusal.
    fn advice(&self, refusal: Refusal, linker: &Linker) -> String {
        match refusal {
            Refusal::BadHost => "the request must name exactly one well-formed host".to_owned(),
            Refusal::UnknownHost => {
                let port = |port: Option<u16>| port.map(|port| format!(":{port}")).unwrap_or_default();
                let origins = linker.origins().map(|(host, with)| format!("{host}{}", port(with)));
                let destinations = linker.destinations().map(|(_, entry)| entry.to_string());
                let mut known: Vec<String> = origins.chain(destinations).take(MOST_HOSTS + 1).collect();
                if known.len() > MOST_HOSTS {
                    known.truncate(MOST_HOSTS);
                    known.push("…".to_owned());
                }
                format!("the file knows these hosts: {}", known.join(", "))
            }
            Refusal::NotFound if self.is_origin => {
                "this is a page of the site itself, and no link through crosslink: a proxy should send it to the site".to_owned()
            }
            Refusal::NotFound => {
                "this site is where links lead, and crosslink has nothing to do here: ask about the link; if an identity \
                 should land here, the query must name one, and the pair needs `landing: {}`"
                    .to_owned()
            }
            Refusal::MethodNotAllowed => {
                "links take GET, HEAD and forms by POST, which a pair may refuse (`post: refuse`)".to_owned()
            }
            Refusal::PostOnly => "it must be a POST, from a form or a script: --method POST".to_owned(),
            Refusal::CrossSite => {
                "the browser says, in Sec-Fetch-Site or Origin, that a page of another site asks; let one of this site do it"
                    .to_owned()
            }
            Refusal::Prefetch => "a browser that fetches ahead gets nothing; it loads normally at the click".to_owned(),
            Refusal::UnknownLink => "add the name to `links` of a pair of this origin".to_owned(),
            Refusal::MissingTo => "add `?to=` and the escaped address, or use a named link".to_owned(),
            Refusal::RepeatedTo => "the link must have one `to`; is the address in it escaped?".to_owned(),
            Refusal::BadTo => "write a plain https address, escaped as `encodeURIComponent` does".to_owned(),
            Refusal::NotAllowed => "if visitors may go there, add it to `destination` of a pair of this origin".to_owned(),
        }
    }

    fn answer<B>(&mut self, response: &Response<B>) {
        let _ = writeln!(self.text, "\nHTTP/1.1 {}", response.status());
        for (name, value) in response.headers() {
            let _ = writeln!(self.text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
    }
}

impl Trace for Explanation {
    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Host { host, origin, landing } => {
                let roles = match (origin, landing) {
                    (true, true) => "is an origin, and a destination on which identities land",
                    (true, false) => "is an origin",
                    (false, true) => "is a destination on which identities land",
                    (false, false) => "is a destination, but no pair has a `landing` for it",
                };
                self.is_origin = origin;
                self.line("host", format!("{host} {roles}"));
            }
            Step::Page { path, query } => {
                self.line("page", format!("{path}{}{}", query.map_or("", |_| "?"), query.unwrap_or_default()));
            }
            Step::Link(name) => self.line("link", name),
            Step::To(to) => self.line("to", to),
            Step::Target(url) => self.line("target", url),
            Step::BadTarget(why) => self.line("target", format!("refused: {why}")),
            Step::Admitted(Pair { name, .. }) => self.line("pair", format!("{name} admits it")),
            Step::NotAllowed(why) => self.line("pair", format!("none admits it: {why}")),
            Step::Landing(Pair { name, .. }) => self.line("pair", format!("{name} lands identities here")),
            Step::HeaderAbsent(name) => self.line("header", format!("{name} says nothing")),
            Step::HeaderUnheard(name, why) => self.line("header", format!("{name} does not count: {}", unheard(why))),
            Step::HeaderUnusable(name, why) => self.line("header", format!("{name} is passed over: {why}")),
            Step::HeaderTaken(name, identity) => {
                self.line("header", format!("{name} is taken: {}", identity.reveal()));
            }
            Step::CookieAbsent(name) => self.line("cookie", format!("{name} is not there")),
            Step::CookieUnusable(name, why) => self.line("cookie", format!("{name} is passed over: {why}")),
            Step::CookieTaken(name, identity) => {
                self.line("cookie", format!("{name} is taken: {}", identity.reveal()));
            }
            Step::CookieNotNeeded(name) => self.line("cookie", format!("{name} is not looked at any more")),
            Step::Minted(name, identity) => {
                let example = identity.reveal();
                self.line("mint", format!("a new identity goes into {name}, a random one such as {example}"));
            }
            Step::NotMinted(name) => self.line(
                "mint",
                format!(
                    "no identity goes into {name}: no browser asks, by its `User-Agent`, or one that fetches ahead"
                ),
            ),
            Step::Arrived(identity) => self.line("arriving", identity.reveal()),
            Step::ArrivedUnusable(why) => self.line("arriving", format!("an identity that can't be used: {why}")),
            Step::ArrivedSeveral => self.line("arriving", "more than one identity, so none is believed"),
            Step::Sealed(why) => self.line("arriving", format!("a token that stays shut: {}", shut(why))),
            Step::Untold(why) => self.line("told", untold(why)),
        }
    }
}

fn unheard(why: Unheard) -> &'static str {
    match why {
        Unheard::Untrusted => "the request comes from none of `trusted_proxies`",
        Unheard::Repeated => "it stands there more than once",
        Unheard::Unusable => "its value can't be used",
    }
}

fn shut(why: Sealed) -> &'static str {
    match why {
        Sealed::Invalid => "it is no token, or its key is not in this file",
        Sealed::Forged => "it was changed, or made for another destination or browser",
        Sealed::Expired => "it is older than two minutes",
    }
}

fn untold(why: Untold) -> &'static str {
    match why {
        Untold::NoPerson => {
            "nothing: no browser asks, by its `User-Agent` (--header 'User-Agent: Mozilla/5.0'), or one that fetches ahead"
        }
        Untold::NoConsent => "nothing: the cookie of `consent` does not say here that the visitor agreed",
        Untold::BehindName => "no alias: the script has joined this cookie's identity to what stands in another one",
        Untold::Framed => "no alias: the page stands in a frame, by its `Sec-Fetch-Dest`",
        Untold::FromElsewhere => {
            "no alias: no page of an origin has sent the visitor, by his `Referer` (--header 'Referer: https://…')"
        }
    }
}

fn no_identity(why: NotCarried) -> &'static str {
    match why {
        NotCarried::Absent => "the visitor has none of the cookies",
        NotCarried::Unusable => "no cookie has a usable value",
        NotCarried::Gpc => "the visitor opted out with Sec-GPC",
        NotCarried::NoConsent => "the cookie of `consent` does not say that the visitor agreed",
        NotCarried::NotNavigation => "not a visit, but a HEAD, an image or a script",
        NotCarried::TooLong => "the URL would be over 8192 bytes",
        NotCarried::Failed => "the URL with the identity did not read back as an allowed one",
    }
}

fn landed(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Set => "the cookie is set, the visitor had no identity here",
        Outcome::Same => "the cookie is set again, the visitor had this identity already",
        Outcome::Replaced => "the cookie is set in place of another identity",
        Outcome::Kept => "no cookie, the identity that the visitor has here stays",
        Outcome::Invalid => "no cookie, the arriving identity can't be used",
        Outcome::Expired => "no cookie, the token's time is over",
        Outcome::Forged => "no cookie, the token was changed, or made for another destination or browser",
        Outcome::Unsealed => "no cookie, this landing accepts only sealed identities",
        Outcome::Replayed => "no cookie, the token was used before",
        Outcome::Unproven => "no cookie, whether the token was used before is not known",
        Outcome::Gpc => "no cookie, the visitor opted out with Sec-GPC",
        Outcome::NotNavigation => "no cookie, not a visit but a HEAD, an image or a script",
    }
}

/// An identity that looks like a random one and is the same in every explanation.
const EXAMPLE: [u8; 16] = *b"\x5e\x1f\x7a\x0c\x93\xd2\x48\xb6\xa1\x04\xee\x3b\x90\xc7\x25\x6d";
/// The most hosts that are listed as advice.
const MOST_HOSTS: usize = 20;
