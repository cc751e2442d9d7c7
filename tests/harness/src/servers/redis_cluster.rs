//! A three-node Redis Cluster, formed with plain commands so that no `redis-cli` is needed.

use std::time::Duration;

use crate::probes::resp::{Value, redis_cmd, try_redis_cmd};
use crate::probes::wait::eventually;
use crate::servers::redis::RedisServer;

/// The slots of each node.
const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

/// Three primaries on loopback. Killed on drop.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts the nodes and waits until each of them knows which node serves every slot.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in SLOTS {
            let args = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"];
            let timing = ["--cluster-node-timeout", "2000"];
            nodes.push(RedisServer::start_with(&[args.as_slice(), timing.as_slice()].concat()).await);
        }
        let cluster = Self { nodes };
        cluster.form().await;
        cluster
    }

    /// `redis-cluster://127.0.0.1:p1?node=127.0.0.1:p2&node=127.0.0.1:p3`
    pub fn url(&self) -> String {
        let [first, rest @ ..] = self.nodes.as_slice() else { unreachable!("a cluster has nodes") };
        let rest: Vec<String> = rest.iter().map(|node| format!("node={}", node.addr())).collect();
        format!("redis-cluster://{}?{}", first.addr(), rest.join("&"))
    }

    /// The nodes, in the order of their slots.
    pub fn nodes(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// Runs a command on the node that serves its key.
    pub async fn cmd(&self, command: &[&str]) -> Value {
        redis_cmd(&self.url(), command).await
    }

    /// The keys of all nodes that match a pattern, sorted.
    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        let mut keys = Vec::new();
        for node in &self.nodes {
            keys.extend(node.cmd(&["KEYS", pattern]).await.texts());
        }
        keys.sort();
        keys
    }

    /// Which node (0, 1, 2) serves a key.
    pub async fn node_of(&self, key: &str) -> usize {
        let slot = self.nodes[0].cmd(&["CLUSTER", "KEYSLOT", key]).await.int().unwrap_or(-1);
        SLOTS
            .iter()
            .position(|&(from, to)| (i64::from(from)..=i64::from(to)).contains(&slot))
            .expect("a slot")
    }

    async fn form(&self) {
        let mut epoch = 0;
        for (node, (from, to)) in self.nodes.iter().zip(SLOTS) {
            epoch += 1;
            let (from, to) = (from.to_string(), to.to_string());
            expect_ok(node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()]).await;
            expect_ok(node, &["CLUSTER", "ADDSLOTSRANGE", &from, &to]).await;
        }
        for node in &self.nodes[1..] {
            expect_ok(&self.nodes[0], &["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]).await;
        }
        for node in &self.nodes {
            eventually(Duration::from_secs(30), || converged(node.url(), self.nodes.len())).await;
        }
    }
}

/// True once this node reports a working cluster and knows every primary.
async fn converged(url: String, nodes: usize) -> Result<(), String> {
    let info = try_redis_cmd(&url, &["CLUSTER", "INFO"]).await.map_err(|error| error.to_string())?;
    let info = info.text().unwrap_or_default();
    let expected =
        ["cluster_state:ok".into(), "cluster_slots_ok:16384".into(), format!("cluster_known_nodes:{nodes}")];
    if let Some(missing) = expected.iter().find(|wanted| !info.lines().any(|line| line == *wanted)) {
        return Err(format!("{url}: CLUSTER INFO lacks {missing}:\n{info}"));
    }
    let ranges = try_redis_cmd(&url, &["CLUSTER", "SLOTS"]).await.map_err(|error| error.to_string())?;
    if ranges.items().len() == nodes { Ok(()) } else { Err(format!("{url}: {ranges:?}")) }
}

async fn expect_ok(node: &RedisServer, command: &[&str]) {
    let reply = node.cmd(command).await;
    assert_eq!(reply, Value::Text("OK".into()), "{command:?}");
}
