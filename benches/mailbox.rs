//! Mail between two cores: round trips while both poll, and one-way throughput.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shoal::net::mailbox::Post;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn mailbox(c: &mut Criterion) {
    let post = Arc::new(Post::<[u64; 4]>::new(2, 256));
    let stop = Arc::new(AtomicBool::new(false));
    let echo = {
        let (post, stop) = (post.clone(), stop.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match post.receive(1, 0) {
                    Some(mail) => while post.send(1, 0, mail).is_err() {},
                    None => std::hint::spin_loop(),
                }
            }
        })
    };
    let mut group = c.benchmark_group("mailbox");
    group.bench_function("round trip, both polling", |b| {
        b.iter(|| {
            post.send(0, 1, [7; 4]).expect("one message in flight");
            loop {
                if let Some(mail) = post.receive(0, 1) {
                    return mail;
                }
                std::hint::spin_loop();
            }
        })
    });
    const WINDOW: u64 = 128;
    group.throughput(Throughput::Elements(WINDOW));
    group.bench_function("there and back, 128 in flight", |b| {
        b.iter(|| {
            let (mut sent, mut back) = (0, 0);
            while back < WINDOW {
                while sent < WINDOW && post.send(0, 1, [sent; 4]).is_ok() {
                    sent += 1;
                }
                while post.receive(0, 1).is_some() {
                    back += 1;
                }
            }
        })
    });
    group.finish();
    stop.store(true, Ordering::Relaxed);
    echo.join().expect("the echo ends well");
}

criterion_group!(benches, mailbox);
criterion_main!(benches);
