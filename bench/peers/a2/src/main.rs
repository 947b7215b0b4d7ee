//! Drives a2, unmodified: bench/peers/prepare tells the protocol. a2 has no option for the host, so the two functions of libc
//! that lead it there are defined here: all names are this machine, and port 443 is PEER_PORT.

use a2::request::payload::PayloadLike;
use a2::{Client, ClientConfig, Endpoint, NotificationOptions};
use serde::Serialize;
use serde_json::value::RawValue;
use std::env::var;
use std::io::BufRead;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

const IN_FLIGHT_PER_CONNECTION: usize = 1_000;
const REFUSALS_SHOWN: usize = 5;

static PORT: LazyLock<u16> = LazyLock::new(|| setting("PEER_PORT").parse().expect("PEER_PORT is no number"));

fn setting(name: &str) -> String {
    var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// # Safety
/// As getaddrinfo(3).
#[no_mangle]
pub unsafe extern "C" fn getaddrinfo(
    _node: *const libc::c_char,
    _service: *const libc::c_char,
    _hints: *const libc::addrinfo,
    found: *mut *mut libc::addrinfo,
) -> libc::c_int {
    let address = Box::new(libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    });
    *found = Box::into_raw(Box::new(libc::addrinfo {
        ai_flags: 0,
        ai_family: libc::AF_INET,
        ai_socktype: libc::SOCK_STREAM,
        ai_protocol: 0,
        ai_addrlen: std::mem::size_of::<libc::sockaddr_in>() as u32,
        ai_addr: Box::into_raw(address).cast(),
        ai_canonname: std::ptr::null_mut(),
        ai_next: std::ptr::null_mut(),
    }));
    0
}

/// # Safety
/// As freeaddrinfo(3), for what getaddrinfo() above has made.
#[no_mangle]
pub unsafe extern "C" fn freeaddrinfo(list: *mut libc::addrinfo) {
    drop(Box::from_raw((*list).ai_addr.cast::<libc::sockaddr_in>()));
    drop(Box::from_raw(list));
}

/// # Safety
/// As connect(2).
#[no_mangle]
pub unsafe extern "C" fn connect(socket: libc::c_int, to: *const libc::sockaddr, bytes: libc::socklen_t) -> libc::c_int {
    let mut there = *to.cast::<libc::sockaddr_in>();
    if (*to).sa_family != libc::AF_INET as u16 || there.sin_port != 443u16.to_be() {
        return libc::syscall(libc::SYS_connect, socket, to, bytes) as libc::c_int;
    }
    there.sin_port = PORT.to_be();
    libc::syscall(libc::SYS_connect, socket, &there as *const libc::sockaddr_in, bytes) as libc::c_int
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Push<'a> {
    body: &'a RawValue,
    #[serde(skip)]
    handle: &'a str,
    #[serde(skip)]
    options: NotificationOptions<'a>,
}

impl PayloadLike for Push<'_> {
    fn get_device_token(&self) -> &str {
        self.handle
    }
    fn get_options(&self) -> &NotificationOptions<'_> {
        &self.options
    }
    fn to_json_string(&self) -> Result<String, a2::Error> {
        Ok(self.body.get().to_owned())
    }
}

struct Plan {
    handles: Vec<String>,
    body: Box<RawValue>,
    topic: String,
}

struct Round {
    number: String,
    next: AtomicUsize,
    end: usize,
    failed: AtomicUsize,
}

async fn work(client: Client, plan: Arc<Plan>, round: Arc<Round>) {
    loop {
        let i = round.next.fetch_add(1, Ordering::Relaxed);
        if i >= round.end {
            return;
        }
        let options = NotificationOptions { apns_topic: Some(&plan.topic), ..Default::default() };
        let push = Push { body: &plan.body, handle: &plan.handles[i], options };
        if let Err(error) = client.send(push).await {
            if round.failed.fetch_add(1, Ordering::Relaxed) < REFUSALS_SHOWN {
                println!("refused {} {} {:?}", round.number, plan.handles[i], error);
            }
        }
    }
}

fn main() {
    let connections: usize = setting("PEER_CONNECTIONS").parse().expect("PEER_CONNECTIONS is no number");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(connections)
        .enable_all()
        .build()
        .expect("no runtime");
    let handles = std::fs::read_to_string(setting("PEER_HANDLES")).expect("PEER_HANDLES cannot be read");
    let plan = Arc::new(Plan {
        handles: handles.lines().map(str::to_owned).collect(),
        body: RawValue::from_string(setting("PEER_BODY")).expect("PEER_BODY is no JSON"),
        topic: setting("PEER_TOPIC"),
    });
    let key = std::fs::read(setting("PEER_KEY_FILE")).expect("PEER_KEY_FILE cannot be read");
    let clients: Vec<Client> = (0..connections)
        .map(|_| {
            let config = ClientConfig::new(Endpoint::Production);
            Client::token(&mut key.as_slice(), setting("PEER_KEY_ID"), setting("PEER_TEAM_ID"), config).expect("no client")
        })
        .collect();
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("no input");
        let order: Vec<&str> = line.split(' ').collect();
        let (from, count): (usize, usize) = (order[1].parse().expect("FROM"), order[2].parse().expect("COUNT"));
        let round = Arc::new(Round {
            number: order[0].to_owned(),
            next: AtomicUsize::new(from),
            end: from + count,
            failed: AtomicUsize::new(0),
        });
        runtime.block_on(async {
            let mut tasks = Vec::new();
            for client in &clients {
                for _ in 0..IN_FLIGHT_PER_CONNECTION.min(count.div_ceil(connections)) {
                    tasks.push(tokio::spawn(work(client.clone(), plan.clone(), round.clone())));
                }
            }
            for task in tasks {
                task.await.expect("a task failed");
            }
        });
        let failed = round.failed.load(Ordering::Relaxed);
        println!("done {} {} {}", round.number, count - failed, failed);
    }
}
