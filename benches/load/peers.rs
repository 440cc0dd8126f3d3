//! The other servers: their configurations, filled in for one start.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::ground::{Ground, find, said};

/// What one start fills in.
#[derive(Clone, Copy, Debug)]
pub struct Blanks<'a> {
    /// A folder of this start's own.
    pub folder: &'a Path,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Whether it speaks TLS, and HTTP/2 over it.
    pub speaks_tls: bool,
}

/// nginx with one answer for all.
pub fn nginx_return(ground: &Ground, blanks: Blanks<'_>) -> Outcome<Command> {
    nginx(ground, blanks, include_str!("peers/nginx/return.conf"))
}

/// nginx that does the job in Lua.
pub fn nginx_lua(ground: &Ground, blanks: Blanks<'_>) -> Outcome<Command> {
    fs::write(blanks.folder.join("handoff.lua"), include_str!("peers/nginx/handoff.lua"))?;
    nginx(ground, blanks, include_str!("peers/nginx/lua.conf"))
}

/// HAProxy that does the job.
pub fn haproxy(ground: &Ground, blanks: Blanks<'_>) -> Outcome<Command> {
    let file = blanks.folder.join("haproxy.cfg");
    fs::write(&file, filled(include_str!("peers/haproxy/haproxy.cfg"), ground, blanks))?;
    let mut command = Command::new(find("haproxy").ok_or("haproxy is not installed")?);
    // In the foreground, and in one process.
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

/// The program in Go.
pub fn go(ground: &Ground, blanks: Blanks<'_>) -> Outcome<Command> {
    let mut command = Command::new(ground.go.as_ref().ok_or("go is not installed")?);
    command.arg(blanks.port.to_string()).arg(&ground.hosts);
    Ok(command)
}

/// Compiles the program in Go.
pub fn build_go(folder: &Path) -> Outcome<PathBuf> {
    let source = folder.join("go");
    fs::create_dir(&source)?;
    fs::write(source.join("go.mod"), include_str!("peers/go/go.mod"))?;
    fs::write(source.join("main.go"), include_str!("peers/go/main.go"))?;
    said(Command::new("go").args(["build", "-o", "handoff", "."]).current_dir(&source))?;
    Ok(source.join("handoff"))
}

/// Whether nginx can run Lua, where Debian puts what that takes.
pub fn has_lua() -> bool {
    let library = Path::new("/usr/share/lua/5.1/resty/core.lua");
    ["ndk_http_module.so", "ngx_http_lua_module.so"].iter().all(|file| Path::new(MODULES).join(file).is_file())
        && library.is_file()
}

fn nginx(ground: &Ground, blanks: Blanks<'_>, template: &str) -> Outcome<Command> {
    let folder = blanks.folder;
    fs::write(folder.join("shared.conf"), filled(include_str!("peers/nginx/shared.conf"), ground, blanks))?;
    let file = folder.join("nginx.conf");
    fs::write(&file, filled(template, ground, blanks))?;
    let mut command = Command::new(find("nginx").ok_or("nginx is not installed")?);
    command.arg("-p").arg(folder).arg("-c").arg(file);
    Ok(command)
}

fn filled(template: &str, ground: &Ground, blanks: Blanks<'_>) -> String {
    let (certificate, key) = match (&ground.certificate, blanks.speaks_tls) {
        (Some((certificate, key)), true) => (certificate.display().to_string(), key.display().to_string()),
        _ => (String::new(), String::new()),
    };
    let lines = if blanks.speaks_tls {
        format!("ssl_certificate {certificate}; ssl_certificate_key {key};")
    } else {
        String::new()
    };
    template
        .replace("{{folder}}", &blanks.folder.display().to_string())
        .replace("{{port}}", &blanks.port.to_string())
        .replace("{{hosts}}", &ground.hosts.display().to_string())
        .replace("{{modules}}", MODULES)
        .replace("{{protocols}}", if blanks.speaks_tls { "ssl http2" } else { "" })
        .replace("{{certificate}}", &lines)
}

const MODULES: &str = "/usr/lib/nginx/modules";
