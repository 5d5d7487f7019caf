//! A shard without sockets: what parsing, routing, executing and replying cost, pipelines of 16 and 64
//! over a million keys.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shoal::cluster::view::View;
use shoal::command::host::Host;
use shoal::config::Config;
use shoal::session::Door;
use shoal::shard::{Input, Now, Setup, Shard, Ticks};
use shoal::store::Hasher;
use shoal::util::rng::Rng;
use std::sync::Arc;

#[global_allocator]
static HEAP: shoal::net::heap::Counting<mimalloc::MiMalloc> = shoal::net::heap::Counting(mimalloc::MiMalloc);

const KEYS: u64 = 1_000_000;
const NOW: Now = Now { unix_us: 1_700_000_000_000_000 };

fn shard(cluster: bool) -> Shard {
    let host = Host {
        cluster,
        ..Host::new(Config::default(), 1, Shard::COMMANDS, Box::new(shoal::net::outside::System))
    };
    Shard::new(Setup {
        me: 0,
        shards: 1,
        host: Arc::new(host),
        view: Arc::new(View::alone()),
        hasher: Hasher::new(1),
        databases: 1,
        seed: 1,
        ticks: Ticks { read: || 0, per_us: 1000.0 },
    })
}

fn pipeline(rng: &mut Rng, commands: usize, set: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..commands {
        let key = format!("key:{:012}", rng.below(KEYS));
        out.extend(match set {
            true => format!("*3\r\n$3\r\nSET\r\n$16\r\n{key}\r\n$16\r\nxxxxxxxxxxxxxxxx\r\n").into_bytes(),
            false => format!("*2\r\n$3\r\nGET\r\n$16\r\n{key}\r\n").into_bytes(),
        });
    }
    out
}

fn command(c: &mut Criterion) {
    let mut group = c.benchmark_group("command");
    for cluster in [false, true] {
        let mut shard = shard(cluster);
        let client = shard.open(Door::Own, String::new(), String::new(), 0, NOW).expect("there is room");
        let mut rng = Rng::new(7);
        let mut out = Vec::new();
        for first in (0..KEYS).step_by(100) {
            let mut fill = Vec::new();
            for key in first..first + 100 {
                fill.extend(
                    format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n$16\r\nxxxxxxxxxxxxxxxx\r\n").bytes(),
                );
            }
            shard.turn(&mut [Input::new(client, &fill)], NOW);
            shard.take_output(client, &mut out);
            out.clear();
            shard.sent(client);
        }
        for (commands, set) in [(16, false), (64, false), (16, true), (64, true)] {
            let pipelines: Vec<Vec<u8>> = (0..2000).map(|_| pipeline(&mut rng, commands, set)).collect();
            let mut next = 0;
            group.throughput(Throughput::Elements(commands as u64));
            let mode = if cluster { "cluster" } else { "standalone" };
            let name = format!("{} P={commands} {mode}", if set { "SET" } else { "GET" });
            group.bench_function(name, |b| {
                b.iter(|| {
                    next = (next + 1) % pipelines.len();
                    shard.turn(&mut [Input::new(client, &pipelines[next])], NOW);
                    assert!(shard.take_output(client, &mut out));
                    out.clear();
                    shard.sent(client);
                })
            });
        }
    }
    group.finish();
}

criterion_group!(benches, command);
criterion_main!(benches);
