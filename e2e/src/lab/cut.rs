//! Faults of the wire: a node that is cut off, and a world that does not answer a node.

use crate::lab::{Exec, Lab, LabError};

impl Lab {
    /// Pulls the plug of a node's uplink, as at the switch: the node sees that the carrier is gone.
    ///
    /// # Errors
    /// When there is no such node, or `ip` fails.
    pub fn cut_node(&self, node: &str) -> Result<(), LabError> {
        let name = self.node(node)?.name;
        self.namespace("lan").ip(&format!("link set {name} down\n"))
    }

    /// Puts the plug back.
    ///
    /// # Errors
    /// As [`Lab::cut_node`].
    pub fn join_node(&self, node: &str) -> Result<(), LabError> {
        let name = self.node(node)?.name;
        self.namespace("lan").ip(&format!("link set {name} up\n"))
    }

    /// The world drops what a node sends to it: the uplink behind the node's own LAN is dead. Other nodes still reach the
    /// node.
    ///
    /// # Errors
    /// When there is no such node, or nft fails.
    pub fn block_world(&self, node: &str) -> Result<(), LabError> {
        let [four, six] = self.node(node)?.addresses();
        let rules = format!(
            "table inet blocked {{ chain {node} {{ type filter hook prerouting priority -300; ip saddr {four} ip daddr != 192.168.10.0/24 drop; ip6 saddr {six} ip6 daddr != 2001:db8:10::/64 drop; }}; }}"
        );
        self.exec_ok(Exec::World, &["nft", &rules]).map(drop)
    }

    /// The world answers again.
    ///
    /// # Errors
    /// As [`Lab::block_world`].
    pub fn unblock_world(&self, node: &str) -> Result<(), LabError> {
        let line = format!("delete chain inet blocked {node}");
        self.exec_ok(Exec::World, &["nft", &line]).map(drop)
    }
}
