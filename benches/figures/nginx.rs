//! nginx as a plain reverse proxy before the same upstream: what a hop costs that decides nothing.
//!
//! Where it is not installed there is nothing to compare with, which is said.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::Process;
use crate::stats::now;

/// Where packages put it; not every user's path has it.
const PLACES: [&str; 4] =
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/bin/nginx", "/opt/homebrew/bin/nginx"];

/// Starts it in a folder of its own; nothing if there is none.
pub(crate) async fn start(folder: &Path, upstream: SocketAddr) -> Result<Option<(Process, SocketAddr)>> {
    let Some(program) = PLACES.map(PathBuf::from).into_iter().find(|place| place.exists()) else { return Ok(None) };
    let addr = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr()).context("no port")?;
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration(folder, addr, upstream))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-c").arg(&file).args(["-e", "stderr"]);
    let mut process = Process::start("nginx", command)?;
    let began = now();
    while tokio::net::TcpStream::connect(addr).await.is_err() {
        process.check()?;
        if began.elapsed() > Duration::from_secs(20) {
            bail!("nginx does not listen:\n{}", process.output());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(Some((process, addr)))
}

/// A worker for each processor, as the relay has; connections are kept on both sides; no log is written.
fn configuration(folder: &Path, addr: SocketAddr, upstream: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off; worker_processes auto; pid {folder}/nginx.pid;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
           access_log off; keepalive_requests 1000000000; client_body_buffer_size 64k;\n\
           client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;\n\
           uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;\n\
           upstream one {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}\n\
           server {{ listen {addr} backlog=4096; location / {{\n\
             proxy_pass http://one; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
           }} }}\n\
         }}\n"
    )
}
