//! A part of very many upstreams for each of many nodes, so that each upstream is in as many parts as any other.
//!
//! All upstreams stand in a row, again and again, in another order each time; the nth node has the nth piece of that. So nodes that
//! are numbered without gaps share all upstreams evenly, and one upstream more or less moves each piece by one place at the
//! most. (The orders are by hash, the idea is that of deterministic subsetting in the book "Site Reliability Engineering", chapter 20.)

use ring::digest::{SHA256, digest};

/// Which part of many upstreams a node uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subset {
    /// So many upstreams.
    pub(crate) size: usize,
    /// The number of this node among all.
    pub(crate) node: u64,
}

impl Subset {
    /// A part of `size` for the node of this name. A number at its end is the node's, as in the names of a Kubernetes `StatefulSet`
    /// (`edge-17`); other names are hashed, which is as even as throwing dice.
    pub(crate) fn of(size: usize, node: &str) -> Subset {
        let digits = node.len() - node.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let number = node[node.len() - digits..].parse::<u32>().ok();
        // So large numbers must not overflow below; no fleet has that many nodes.
        Subset { size: size.max(1), node: number.map_or_else(|| hash("node", node) >> 40, u64::from) }
    }

    /// The indices of the node's part of upstreams with these names, in their order.
    pub(crate) fn choose(&self, names: &[String]) -> Vec<usize> {
        if names.len() <= self.size {
            return (0..names.len()).collect();
        }
        let (count, first) = (names.len() as u64, self.node * self.size as u64);
        let mut chosen = Vec::with_capacity(self.size);
        let mut round = first / count;
        let mut at = usize::try_from(first % count).unwrap_or_default();
        while chosen.len() < self.size {
            let row = row(names, round);
            // Where a piece goes on into the next order, what it has already is passed over.
            let more: Vec<_> = row[at..].iter().filter(|index| !chosen.contains(*index)).copied().collect();
            chosen.extend(more.into_iter().take(self.size - chosen.len()));
            (round, at) = (round + 1, 0);
        }
        chosen.sort_unstable();
        chosen
    }
}

/// All indices, in the order of a round.
fn row(names: &[String], round: u64) -> Vec<usize> {
    let round = round.to_string();
    let mut row: Vec<_> = names.iter().enumerate().map(|(index, name)| (hash(&round, name), index)).collect();
    row.sort_unstable();
    row.into_iter().map(|(_, index)| index).collect()
}

/// The same on every node, whatever it was built with.
fn hash(what: &str, name: &str) -> u64 {
    let digest = digest(&SHA256, format!("{what} {name}").as_bytes());
    digest.as_ref().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("10.0.{}.{}:80", n / 256, n % 256)).collect()
    }

    /// How many of so many nodes use each upstream.
    fn uses(names: &[String], nodes: u64, size: usize) -> Vec<usize> {
        let mut uses = vec![0; names.len()];
        for node in 0..nodes {
            let chosen = Subset { size, node }.choose(names);
            assert_eq!(chosen.len(), size.min(names.len()));
            assert!(chosen.windows(2).all(|two| two[0] < two[1]), "each once: {chosen:?}");
            chosen.into_iter().for_each(|index| uses[index] += 1);
        }
        uses
    }

    #[test]
    fn numbered_nodes_cover_all_upstreams_evenly() {
        for (count, nodes, size) in [(300, 300, 20), (1000, 50, 30), (97, 61, 10), (10, 1000, 3)] {
            let uses = uses(&names(count), nodes, size);
            let (least, most) = (uses.iter().min().expect("some"), uses.iter().max().expect("some"));
            // Where a round ends inside a piece, one may be passed over for another.
            let mean = usize::try_from(nodes).expect("few") * size / count;
            assert!(most - least <= 2.max(mean / 20), "{count} {nodes} {size}: {least} to {most}");
        }
    }

    #[test]
    fn an_upstream_more_or_less_changes_little() {
        let (before, size) = (names(300), 20);
        let after: Vec<_> = before[..299].to_vec();
        for node in 0..200 {
            let subset = Subset { size, node };
            let named =
                |names: &[String]| subset.choose(names).into_iter().map(|n| names[n].clone()).collect::<Vec<_>>();
            let (old, new) = (named(&before), named(&after));
            let kept = old.iter().filter(|name| new.contains(name)).count();
            // A piece moves by one for each time that the row has been gone through.
            assert!(kept + 2 + usize::try_from(node).expect("small") / 15 >= size, "{node}: {kept}");
        }
    }

    #[test]
    fn names_become_numbers() {
        let node = |name| Subset::of(5, name).node;
        assert_eq!((node("17"), node("edge-17"), node("0")), (17, 17, 0));
        assert_ne!(node("edge-a"), node("edge-b"));
        assert_eq!(node("edge-a"), node("edge-a"));
        assert_eq!(Subset::of(5, "edge-a").choose(&names(100)).len(), 5);
        assert_eq!(Subset::of(5, "edge-a").choose(&names(3)), [0, 1, 2]);
        assert_eq!(Subset::of(5, "4294967295").choose(&names(100)).len(), 5);
    }
}
