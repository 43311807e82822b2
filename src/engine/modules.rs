//! The modules of a network: which nodes belong to them, and where they end.

use super::graph::{Graph, NodeId};

/// Maximum number of modules if the node names do not define them.
const MAX_MODULES: usize = 16;

/// For `base.3.layers.0.layer1`: `base.3`.
#[must_use]
pub fn module(name: &str) -> &str {
    let end = name.match_indices('.').nth(1).map_or(name.len(), |(at, _)| at);
    &name[..end]
}

/// The last node of every module, with the module's name. Nodes called `base.N…` belong to module `base.N`; a network
/// with other names is divided at about sixteen nodes.
#[must_use]
pub fn ends(graph: &Graph) -> Vec<(String, NodeId)> {
    let nodes = graph.ids().zip(graph.nodes()).filter(|(id, _)| *id != graph.input());
    let mut ends: Vec<(String, NodeId)> = Vec::new();
    for (id, node) in nodes {
        let name = module(&node.name);
        match ends.last_mut() {
            Some((last, end)) if last == name => *end = id,
            _ => ends.push((name.to_owned(), id)),
        }
    }
    // The output must be among the ends, and nodes that it does not depend on may follow it.
    ends.retain(|(_, end)| *end <= graph.output());
    if ends.len() <= 2 * MAX_MODULES {
        return ends;
    }
    let (last, step) = (ends.len() - 1, ends.len().div_ceil(MAX_MODULES));
    let kept = ends.into_iter().enumerate().filter(|(index, _)| *index == last || (index + 1) % step == 0);
    kept.map(|(_, end)| end).collect()
}
