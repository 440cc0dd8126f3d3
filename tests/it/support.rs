//! What the tests stand on: a real server on a free port, a client that sends any bytes, and programs that end with
//! the test that started them.

use std::fs;
use std::io::{self, PipeWriter, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crosslink::config::{self, Config};
use crosslink::http::handler::Handler;
use crosslink::http::request_log::RequestLog;
use crosslink::http::server::{self, Listener, Terms};
use crosslink::replay::UsedTokens;
use crosslink::rules::Rules;
use crosslink::sink::Sink;
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The configuration that most tests use: a hosted checkout without a landing, and an own one with it.
pub const CONFIG: &str = r#"
pairs:
  - name: hosted
    origin: www.yoursite.com
    destination: yoursite.3rd-party-checkout.com
    links:
      checkout: /cart
      slashed: /shop/
      query: /cart?lang=en#pay
  - name: own
    origin: [www.yoursite.com, "www.yoursite.com:8443", shop.example]
    destination:
      - ok.example
      - "*.wild.example"
      - ports.example:8443
      - https://paths.example/shop
      - bücher.example
      - 127.0.0.1
      - "[::1]:8080"
    landing: {}
  - name: unencrypted
    origin: www.yoursite.com
    destination: http://plain.example
    landing:
      domain: host
"#;

/// A crosslink in this process, on a port of its own, which stops when it is dropped.
pub struct App {
    pub address: SocketAddr,
    stop: CancellationToken,
    server: Option<JoinHandle<usize>>,
    sink: Sink,
    log: Memory,
}

impl App {
    /// Serves [`CONFIG`].
    pub fn start() -> Self {
        Self::with(CONFIG)
    }

    /// Serves a configuration; only its `listen` is not followed.
    pub fn with(text: &str) -> Self {
        let config = parse(text);
        let limits = config.fixed.limits;
        let log = Memory::kept();
        let sink = log.sink();
        let lines = sink.clone();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let (bound, address) = std::sync::mpsc::channel();
        let server = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let handler = handler(config, lines);
                let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
                bound.send(socket.local_addr().unwrap()).unwrap();
                server::run(vec![Listener { socket, tls: None }], handler, Terms::new(limits, token)).await
            })
        });
        Self { address: address.recv().unwrap(), stop, server: Some(server), sink, log }
    }

    /// A `GET` of a target on a host.
    pub fn get<'a>(&'a self, host: &'a str, target: &'a str) -> Ask<'a> {
        self.ask("GET", host, target)
    }

    /// Any request.
    pub fn ask<'a>(&'a self, method: &'a str, host: &'a str, target: &'a str) -> Ask<'a> {
        Ask { address: self.address, method, host, target, fields: Vec::new() }
    }

    /// Sends bytes as they are and reads one reply.
    pub fn raw(&self, bytes: &[u8]) -> Reply {
        Client::connect(self.address).send(bytes).reply().expect("a reply")
    }

    /// Begins to stop, as on SIGTERM.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the end and gives the number of connections that were cut.
    pub fn ended(&mut self) -> usize {
        self.server.take().expect("not ended yet").join().unwrap()
    }

    /// The log so far, written out.
    pub fn log(self) -> String {
        let log = self.log.clone();
        drop(self);
        log.text()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
        let _ = self.sink.close(Duration::from_secs(5));
    }
}

/// A log that a test can read, and that is kept.
#[derive(Clone)]
pub struct Memory(Arc<Mutex<Kept>>);

struct Kept {
    bytes: Vec<u8>,
    file: NamedTempFile,
}

impl Memory {
    pub fn kept() -> Self {
        Self(Arc::new(Mutex::new(Kept { bytes: Vec::new(), file: log_file("app") })))
    }

    /// What a crosslink in this process logs into.
    pub fn sink(&self) -> Sink {
        Sink::spawn(self.clone()).unwrap()
    }

    /// All that was written so far.
    pub fn text(&self) -> String {
        String::from_utf8(self.lock().bytes.clone()).unwrap()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.lock();
        kept.bytes.extend_from_slice(bytes);
        kept.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What answers by a configuration. A shared store of used tokens needs a runtime around this.
pub fn handler(config: Config, sink: Sink) -> Handler {
    let used = Arc::new(UsedTokens::new(config.fixed.replay));
    let rules = Rules::new(config.linker, config.trusted_proxies, "test".into()).live();
    Handler::new(rules, used, RequestLog::new(sink, config.fixed.log), Arc::default())
}

/// Checks a configuration that must be right.
pub fn parse(text: &str) -> Config {
    config::parse(text).unwrap_or_else(|faults| panic!("{}", config::render_faults("test", text, &faults)))
}

/// A request on its way.
pub struct Ask<'a> {
    address: SocketAddr,
    method: &'a str,
    host: &'a str,
    target: &'a str,
    fields: Vec<u8>,
}

impl Ask<'_> {
    /// Adds a `Cookie` field.
    pub fn cookie(self, cookies: &str) -> Self {
        self.field("Cookie", cookies.as_bytes())
    }

    /// Adds any field.
    pub fn field(mut self, name: &str, value: &[u8]) -> Self {
        self.fields.extend_from_slice(name.as_bytes());
        self.fields.extend_from_slice(b": ");
        self.fields.extend_from_slice(value);
        self.fields.extend_from_slice(b"\r\n");
        self
    }

    /// Sends it and reads the reply.
    pub fn send(self) -> Reply {
        let mut bytes = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host).into_bytes();
        bytes.extend_from_slice(&self.fields);
        bytes.extend_from_slice(b"\r\n");
        let mut client = Client::connect(self.address).send(&bytes);
        client.is_head = self.method == "HEAD";
        client.reply().expect("a reply")
    }

    /// Sends it and gives the Location of the redirect that must come.
    pub fn location(self) -> String {
        let reply = self.send();
        assert_eq!(reply.status, 302, "{reply:?}");
        reply.location().expect("a Location").to_owned()
    }
}

/// A connection that sends and reads bytes.
pub struct Client {
    stream: Box<dyn Wire>,
    /// Whether the next reply has no body, whatever length it tells.
    pub is_head: bool,
}

/// What bytes go over: a socket, or TLS on it.
pub trait Wire: Read + Write {}
impl<W: Read + Write> Wire for W {}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(socket(address))
    }

    pub fn over(stream: impl Wire + 'static) -> Self {
        Self { stream: Box::new(stream), is_head: false }
    }

    /// Sends bytes. A server that has closed already is no failure here: what it said is read afterwards.
    pub fn send(mut self, bytes: &[u8]) -> Self {
        let _ = self.stream.write_all(bytes);
        self
    }

    /// Sends bytes on a connection that is kept, and reads one reply to them.
    pub fn ask(&mut self, bytes: &[u8]) -> Option<Reply> {
        let _ = self.stream.write_all(bytes);
        self.reply()
    }

    /// Reads one reply; `None` if the connection ends before one begins.
    pub fn reply(&mut self) -> Option<Reply> {
        let (reply, body) = self.reply_and_body()?;
        Some(Reply { body: String::from_utf8(body).unwrap(), ..reply })
    }

    /// The same for a body that is no text.
    pub fn reply_and_body(&mut self) -> Option<(Reply, Vec<u8>)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                Ok(_) => return None,
                Err(error) => panic!("no reply: {error}, after {:?}", String::from_utf8_lossy(&head)),
            }
        }
        let head = String::from_utf8(head).expect("a head of ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
        let fields = lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned()));
        let reply = Reply { status, fields: fields.collect(), body: String::new() };
        let length = reply.field("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if self.is_head { 0 } else { length }];
        self.stream.read_exact(&mut body).expect("a whole body");
        Some((reply, body))
    }

    /// Waits for the server to close the connection, and gives how long that took. What comes before is dropped.
    pub fn closed_after(mut self) -> Duration {
        let started = Instant::now();
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("the server did not close: {error}"),
            _ => started.elapsed(),
        }
    }
}

/// A socket that is not waited for without end.
pub fn socket(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A reply, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    /// The first field of a name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// How many fields have a name.
    pub fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count()
    }

    pub fn location(&self) -> Option<&str> {
        self.field("location")
    }

    pub fn set_cookie(&self) -> Option<&str> {
        self.field("set-cookie")
    }

    /// The code at the beginning of a refusal's body.
    pub fn code(&self) -> &str {
        self.body.split(':').next().unwrap_or_default()
    }
}

/// A program that is killed when the test is over.
pub struct Program {
    pub child: Child,
}

impl Program {
    pub fn spawn(command: &mut Command) -> Self {
        Self { child: command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `crosslink serve` or `crosslink demo` that runs. All that it says goes into files, which are kept with the other
/// logs of the run; therefore no test starts one by other means.
pub struct Service {
    pub program: Program,
    pub stdout: NamedTempFile,
    pub stderr: NamedTempFile,
    folder: Option<TempDir>,
}

impl Service {
    /// Starts `crosslink serve` with a configuration; `command` is [`crosslink`] or runs it. A pipe takes the place of
    /// the file for stdout.
    pub fn serve(command: Command, config: &str, stdout: Option<PipeWriter>) -> Self {
        Self::serve_in(tempfile::tempdir().unwrap(), command, config, stdout)
    }

    /// The same in a folder that holds what the configuration names.
    pub fn serve_in(folder: TempDir, mut command: Command, config: &str, stdout: Option<PipeWriter>) -> Self {
        fs::write(folder.path().join("crosslink.yaml"), config).unwrap();
        // The path is logged: this one has no random letters, in which a search could find what it looks for.
        command.current_dir(&folder).args(["serve", "--config", "crosslink.yaml", "--admin", "127.0.0.1:0"]);
        Self { folder: Some(folder), ..Self::spawn(&mut command, stdout) }
    }

    /// The folder with its configuration.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("a configuration").path()
    }

    /// All that it said about itself so far.
    pub fn events(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Waits until it says something about itself that holds `mark`.
    pub fn said(&self, mark: &str) {
        eventually(mark, || self.events().contains(mark).then_some(()));
    }

    /// Starts a command that serves.
    pub fn start(command: &mut Command) -> Self {
        Self::spawn(command, None)
    }

    fn spawn(command: &mut Command, pipe: Option<PipeWriter>) -> Self {
        let [stdout, stderr] = ["stdout", "stderr"].map(log_file);
        command.stdout(pipe.map_or_else(|| stdout.reopen().unwrap().into(), Stdio::from));
        let program = Program::spawn(command.stderr(stderr.reopen().unwrap()));
        Self { program, stdout, stderr, folder: None }
    }

    /// Waits until it listens on so many addresses, and gives them.
    pub fn listening(&mut self, count: usize) -> Vec<SocketAddr> {
        eventually("its start", || {
            let log = fs::read_to_string(&self.stderr).unwrap();
            assert!(self.program.child.try_wait().unwrap().is_none(), "it ended before it listened: {log}");
            let events = whole_lines(&log).map(|line| serde_json::from_str::<Value>(line).unwrap());
            let listening = events.filter(|event| event["message"] == "listening");
            let addresses: Vec<_> =
                listening.map(|event| event["address"].as_str().unwrap().parse().unwrap()).collect();
            (addresses.len() == count).then_some(addresses)
        })
    }

    /// The operator's address, once it listens.
    pub fn admin(&self) -> SocketAddr {
        eventually("its admin port", || {
            let log = fs::read_to_string(&self.stderr).unwrap();
            let events = whole_lines(&log).map(|line| serde_json::from_str::<Value>(line).unwrap());
            let admin = events.filter(|event| event["message"] == "admin port").last()?;
            Some(admin["address"].as_str().unwrap().parse().unwrap())
        })
    }

    /// Waits for the line of its stdout that holds `mark`.
    pub fn announced(&self, mark: &str) -> String {
        eventually(mark, || {
            let said = fs::read_to_string(&self.stdout).unwrap();
            whole_lines(&said).find(|line| line.contains(mark)).map(|line| line.trim().to_owned())
        })
    }

    /// Waits until it ends by itself, and gives its exit code.
    pub fn exit(&mut self) -> Option<i32> {
        eventually("its end", || self.program.child.try_wait().unwrap()).code()
    }
}

/// The lines of a file that somebody still writes to, without one that has only begun.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

/// A file for all that one source logs, with the name of the test in its own. It stays in the folder that
/// `CROSSLINK_TEST_LOGS` names, where the logs of a whole run are searched, or else goes with the test.
pub fn log_file(source: &str) -> NamedTempFile {
    let folder = std::env::var_os("CROSSLINK_TEST_LOGS");
    let mut file = tempfile::Builder::new();
    let name = format!("{source} {} ", thread::current().name().unwrap_or("a test"));
    file.prefix(&name).suffix(".log").disable_cleanup(folder.is_some());
    file.tempfile_in(folder.map_or_else(std::env::temp_dir, PathBuf::from)).unwrap()
}

/// `crosslink` itself, as it was built for this test run.
pub fn crosslink() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crosslink"));
    command.env_remove("CROSSLINK_CONFIG").stdin(Stdio::null());
    command
}

/// A folder of this repository, or a file in it.
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A loopback address on which nobody else listens, so that a program may have a port that is known before it starts,
/// and come back to it.
pub fn own_host() -> String {
    static HOSTS: AtomicU32 = AtomicU32::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    format!("127.{}.{high}.{low}", 100 + HOSTS.fetch_add(1, Ordering::SeqCst))
}

/// Waits until something is there.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{what} did not happen");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A program that a test needs and that is perhaps not installed: without it the test says so and is left out, except
/// where `CROSSLINK_TEST_ALL` demands every test, as `tests/run` does.
pub fn needs(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| find(program).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var_os("CROSSLINK_TEST_ALL").is_none(), "{test} needs {missing:?}");
    let mut stderr = io::stderr();
    // Not `eprintln!`, which is shown only for tests that fail.
    let _ = writeln!(stderr, "left out: {test}, because {missing:?} is not installed; `tests/run` installs it");
    false
}

/// Where a program is; Debian keeps some out of the path of users, and others it does not have: `tests/run` puts them
/// there.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = [repository("target/envoy"), repository("target/tools/bin")];
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).chain(others);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// How long anything may take before a test gives up; far more than it ever needs.
pub const PATIENCE: Duration = Duration::from_secs(30);
