//! Whether the cluster works, as far as this host can tell.

use super::Plane;
use super::group::Publish;
use crate::cluster::wire::flag;
use crate::limits;
use crate::slot::SLOTS;

impl Plane {
    pub(super) fn update_state(&mut self, g: usize) {
        let (now, timeout) = (self.now, self.timeout());
        let is_master = self.members(g).into_iter().any(|l| self.me(l).is_master());
        let group = &mut self.groups[g];
        group.restate = false;
        // a host that is alone has nobody who could have taken its place in the meantime
        let careful = is_master && group.has_foreign();
        let started = *group.started_at.get_or_insert(now);
        let (mut size, mut reachable, mut failed_slots) = (0, 0, 0);
        for (_, node) in group.iter().filter(|(_, node)| node.counts()) {
            size += 1;
            reachable += !node.has(flag::FAIL | flag::PFAIL) as usize;
            failed_slots += if node.failed() { node.owned } else { 0 };
        }
        if careful && !group.ok && now - started < limits::WRITABLE_DELAY_MS {
            return;
        }
        group.size = size;
        let covered = group.assigned() == SLOTS && failed_slots == 0;
        let mut ok = covered || !self.conf.cluster_require_full_coverage;
        if reachable < size / 2 + 1 {
            ok = false;
            group.minority_at = now;
        }
        let rejoin = timeout.clamp(limits::REJOIN_MIN_MS, limits::REJOIN_MAX_MS);
        if ok && !group.ok && careful && now - group.minority_at < rejoin {
            return;
        }
        if group.ok != ok {
            tracing::warn!("Cluster state changed: {}", if ok { "ok" } else { "fail" });
            group.ok = ok;
            group.publish = Publish::Now;
        }
    }
}
