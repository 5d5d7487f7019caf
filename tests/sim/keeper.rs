//! Admins of replicas: whom they copy, and when they take over.

use super::admin::{Line, Office, nodes};
use super::script::{Addr, Port};
use std::rc::Rc;

/// How long a replica may take to take over, in looks.
const LOOKS: usize = 60;

/// Makes these nodes replicas, mostly of masters on other hosts than their own.
pub async fn place(port: Rc<Port>, spares: Vec<Addr>, masters: Vec<Addr>) {
    for at in &spares {
        loop {
            let lines = nodes(&port, at).await;
            let own = port.below(4) == 0;
            let wanted = |line: &&Line| masters.contains(&line.addr) && (line.addr.ip == at.ip) == own;
            let some: Vec<&Line> = lines.iter().filter(wanted).collect();
            if !some.is_empty() && port.ok(at, &replicate(some[port.below(some.len())])).await {
                break;
            }
            port.sleep(50).await;
        }
    }
}

fn replicate(master: &Line) -> String {
    format!("CLUSTER REPLICATE {}", master.id)
}

/// Gives replicas other masters, and has them take over, until he is told to stop.
pub async fn keeper(port: Rc<Port>, office: Rc<Office>) {
    while !port.stopping.get() {
        let pause = 200 + port.below(1500) as u64;
        port.sleep(pause).await;
        let lines = nodes(&port, &office.somebody(&port)).await;
        let foreign = office.foreign.borrow().clone();
        let replicas: Vec<&Line> =
            lines.iter().filter(|line| line.copies() && !foreign.contains(&line.addr)).collect();
        if replicas.is_empty() {
            continue;
        }
        let replica = replicas[port.below(replicas.len())];
        let what = port.below(if office.careless { 8 } else { 5 });
        match what {
            0 => {
                let may = |line: &&Line| line.serves() && office.keeps(line) && !foreign.contains(&line.addr);
                let masters: Vec<&Line> = lines.iter().filter(may).collect();
                if masters.is_empty() {
                    continue;
                }
                let master = masters[port.below(masters.len())];
                if port.ok(&replica.addr, &replicate(master)).await && !replica.follows(master) {
                    port.mark("replica was given another master");
                }
            }
            1..=4 => take_over(&port, &office, replica).await,
            5..=6 => _ = port.call(&replica.addr, "CLUSTER FAILOVER FORCE").await,
            _ => _ = port.call(&replica.addr, "CLUSTER FAILOVER TAKEOVER").await,
        }
    }
}

/// CLUSTER FAILOVER, while nobody moves a slot: for of those under way the replica knows nothing.
async fn take_over(port: &Port, office: &Office, replica: &Line) {
    if office.still.replace(true) {
        return;
    }
    office.await_moves(port).await;
    if office.open.borrow().is_empty() && port.ok(&replica.addr, "CLUSTER FAILOVER").await {
        for _ in 0..LOOKS {
            port.sleep(100).await;
            let lines = nodes(port, &replica.addr).await;
            if lines.iter().any(|line| line.addr == replica.addr && line.serves()) {
                break;
            }
        }
    }
    office.still.set(false);
}
