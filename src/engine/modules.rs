//! The modules of a network: which nodes belong to them, and where they end.

use std::collections::HashSet;

use super::graph::{Graph, NodeId};

/// Maximum number of modules if the node names do not define them.
const MAX_MODULES: usize = 16;

/// For `base.3.layers.0.layer1`: `base.3`.
#[must_use]
pub fn module(name: &str) -> &str {
    let end = name.match_indices('.').nth(1).map_or(name.len(), |(at, _)| at);
    &name[..end]
}

/// The module of each node, given the nodes' names in order. A node of a module that has ended, such as the means of its map
/// for the layer of a taught model, is a module of its own.
pub fn of_nodes<'a>(names: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut ended = HashSet::new();
    let mut last = None;
    names.into_iter().map(move |name| {
        let found = module(name);
        if last == Some(found) {
            return found;
        }
        let found = if ended.insert(found) { found } else { name };
        last = Some(found);
        found
    })
}

/// The last node of every module, with the module's name. Nodes called `base.N…` belong to module `base.N`; a network
/// with other names is divided at about sixteen nodes.
#[must_use]
pub fn ends(graph: &Graph) -> Vec<(String, NodeId)> {
    let nodes = || graph.ids().zip(graph.nodes()).filter(|(id, _)| *id != graph.input());
    let mut ends: Vec<(String, NodeId)> = Vec::new();
    for ((id, _), name) in nodes().zip(of_nodes(nodes().map(|(_, node)| &*node.name))) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_a_module_that_has_ended_is_a_module_of_its_own() {
        let names = [
            "base.0",
            "base.1.conv",
            "base.1.norm",
            "base.2",
            "base.0.cells-2",
            "base.0.features",
            "base.1.cells",
            "join",
        ];
        let expected =
            ["base.0", "base.1", "base.1", "base.2", "base.0.cells-2", "base.0.features", "base.1.cells", "join"];
        assert!(of_nodes(names).eq(expected));
    }
}
