//! The choice: two upstreams, and the cheaper of them.
//!
//! One is the one whose turn it is, by weight, the other one is drawn at random, by weight.
//!
//! What one costs is its load, which is the requests that run there for its weight and one more, times its smoothed
//! latency, times a penalty for failures. What was learnt fades: an upstream that is not sent anything is thought to be as good as the other
//! one after a while, never better, so that it is tried again and not overrun. Of two that cost about the same the one
//! whose turn it is gets the request: that is what shares small loads fairly.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use fastrand::Rng;
use tokio::time::Instant;

use super::Options;
use super::learnt::{Known, to_f64};
use super::node::Node;

/// Costs of up to this ratio are about the same.
const ABOUT: f64 = 1.25;

/// Differences of latency that are small against this are noise, in nanoseconds: they say more about who was asked first
/// than about who is quicker.
const NOISE: f64 = 5e6;

/// What one that only fails costs more. It grows with the square of the part that fails, so that the few failures that everybody has
/// change little.
const PENALTY: f64 = 1000.0;

/// How often is drawn anew for one that may be used.
const DRAWS: usize = 8;

/// One upstream among others.
pub(crate) struct Entry {
    pub(crate) node: Arc<Node>,
    /// Its part of the requests, against those of the others.
    pub(crate) weight: u32,
    /// Those of a larger number get requests when no other can be used.
    pub(crate) priority: u16,
}

/// The upstreams that requests are spread over. It never changes: others are in another table.
pub(crate) struct Table {
    /// By priority.
    seats: Box<[Seat]>,
    /// Those of equal priority.
    tiers: Box<[Tier]>,
    /// Moves on with each choice.
    turn: AtomicU64,
}

struct Seat {
    node: Arc<Node>,
    /// Its weight, as a multiple of the smallest of its tier.
    share: f64,
    /// Where it was among the entries.
    index: usize,
    /// The weights up to this one.
    sum: u64,
}

/// A seat that may get the request.
struct Judged {
    seat: usize,
    /// What runs there for its weight, and one more.
    load: f64,
    /// What would run there with this request, for its weight.
    next: f64,
    warmth: f64,
    known: Known,
}

struct Tier {
    seats: Range<usize>,
    /// Whether all weights are the same.
    even: bool,
}

impl Table {
    /// A table of the entries, which are known by their index from now on. A weight of 0 counts as 1.
    pub(crate) fn new(entries: Vec<Entry>) -> Table {
        let mut entries: Vec<_> = entries.into_iter().enumerate().collect();
        entries.sort_by_key(|(_, entry)| entry.priority);
        let mut seats = Vec::with_capacity(entries.len());
        let mut tiers = Vec::new();
        for tier in entries.chunk_by(|a, b| a.1.priority == b.1.priority) {
            let weights = || tier.iter().map(|(_, entry)| entry.weight.max(1));
            let (least, most) = (weights().min().unwrap_or(1), weights().max().unwrap_or(1));
            tiers.push(Tier { seats: seats.len()..seats.len() + tier.len(), even: least == most });
            let mut sum = 0;
            for (index, entry) in tier {
                let weight = entry.weight.max(1);
                sum += u64::from(weight);
                let share = f64::from(weight) / f64::from(least);
                seats.push(Seat { node: Arc::clone(&entry.node), share, index: *index, sum });
            }
        }
        Table { seats: seats.into(), tiers: tiers.into(), turn: AtomicU64::new(fastrand::u64(..)) }
    }

    /// The index of the upstream for the next request, which was not among those `tried`, given by their ids; `None` when all were.
    ///
    /// When none that is left gets requests, the one that has to wait least is taken: trying beats giving up.
    pub(crate) fn choose(&self, tried: &[u64], now: Instant, options: &Options, rng: &mut Rng) -> Option<usize> {
        let usable = |seat: &Seat| seat.node.is_in(now) && !tried.contains(&seat.node.id());
        let chosen = self.tiers.iter().find_map(|tier| self.choose_in(tier, usable, now, options, rng));
        let seat = chosen.or_else(|| self.least_bad(tried, now, rng))?;
        Some(self.seats[seat].index)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// How many get no requests.
    pub(crate) fn out(&self, now: Instant) -> usize {
        self.seats.iter().filter(|seat| !seat.node.is_in(now)).count()
    }

    fn choose_in(
        &self,
        tier: &Tier,
        usable: impl Fn(&Seat) -> bool,
        now: Instant,
        options: &Options,
        rng: &mut Rng,
    ) -> Option<usize> {
        let mut first = None;
        let turn = self.turn.fetch_add(1, Relaxed);
        for draw in 0..DRAWS {
            let seat = if draw == 0 { self.in_turn(tier, turn) } else { self.draw(tier, rng.u64(..)) };
            if first != Some(seat) && usable(&self.seats[seat]) {
                match first {
                    None => first = Some(seat),
                    Some(first) => return Some(self.cheaper(first, seat, now, options, rng)),
                }
            }
            if tier.seats.len() == 1 {
                return first;
            }
        }
        // Most of them are out, or one has nearly all the weight.
        let start = rng.usize(0..tier.seats.len());
        let others = (0..tier.seats.len()).map(|step| tier.seats.start + (start + step) % tier.seats.len());
        let mut left = others.filter(|seat| first != Some(*seat) && usable(&self.seats[*seat]));
        match (first, left.next(), left.next()) {
            (None, Some(one), Some(other)) => Some(self.cheaper(one, other, now, options, rng)),
            (Some(first), Some(other), _) => Some(self.cheaper(first, other, now, options, rng)),
            (first, other, _) => first.or(other),
        }
    }

    /// The seat whose turn it is.
    fn in_turn(&self, tier: &Tier, turn: u64) -> usize {
        if tier.even {
            return tier.seats.start + usize::try_from(turn % tier.seats.len() as u64).unwrap_or_default();
        }
        // Multiples of the golden ratio, less whole numbers, are spread evenly however many there are.
        self.draw(tier, turn.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// The seat of the tier that has a place, of all that there are by weight. Places are parts of 2^64.
    fn draw(&self, tier: &Tier, place: u64) -> usize {
        let seats = &self.seats[tier.seats.clone()];
        let all = seats.last().map_or(0, |seat| seat.sum);
        let at = u64::try_from((u128::from(place) * u128::from(all)) >> 64).unwrap_or_default();
        let index = if tier.even {
            at / (all / seats.len() as u64)
        } else {
            seats.partition_point(|seat| seat.sum <= at) as u64
        };
        tier.seats.start + usize::try_from(index).unwrap_or_default()
    }

    /// Of two seats, the first one first in turn, the one that costs less.
    fn cheaper(&self, first: usize, second: usize, now: Instant, options: &Options, rng: &mut Rng) -> usize {
        let judge = |seat: usize| {
            let Seat { node, share, .. } = &self.seats[seat];
            let warmth = node.warmth(now, options);
            let pending = to_f64(node.pending() as u64);
            let (load, next) = (1.0 + pending / (share * warmth), (pending + 1.0) / share);
            Judged { seat, load, next, warmth, known: node.known(now) }
        };
        let (first, second) = (judge(first), judge(second));
        let (takes, other_takes) = latencies(&first.known, &second.known);
        let each = takes * penalty(&first.known);
        let other_each = other_takes * penalty(&second.known) * ABOUT;
        // Of different weights a single request is much for one and little for the other: the turn holds unless both ways to count say no.
        let holds = first.load * each <= second.load * other_each || first.next * each <= second.next * other_each;
        let (best, other) = if holds { (first, second) } else { (second, first) };
        // One that starts slowly passes on most of what it would get.
        let passes = best.warmth < other.warmth && rng.f64() >= best.warmth / other.warmth;
        if passes { other.seat } else { best.seat }
    }

    /// The one that gets requests again before all others; those found ill come last.
    fn least_bad(&self, tried: &[u64], now: Instant, rng: &mut Rng) -> Option<usize> {
        let count = self.seats.len();
        let start = rng.usize(0..count.max(1));
        let seats = (0..count).map(|step| (start + step) % count);
        let left = seats.filter(|seat| !tried.contains(&self.seats[*seat].node.id()));
        left.min_by_key(|seat| {
            let node = &self.seats[*seat].node;
            (node.is_ill(), node.out_until(now), node.pending())
        })
    }
}

/// How long two take. The slower one's time fades towards the other's; who is not known takes as long as the other.
fn latencies(one: &Known, other: &Known) -> (f64, f64) {
    let fade = |slow: &Known, quick: &Known| quick.latency + (slow.latency - quick.latency) * slow.freshness;
    if one.latency == 0.0 || other.latency == 0.0 {
        return (1.0, 1.0);
    }
    if one.latency > other.latency {
        (fade(one, other) + NOISE, other.latency + NOISE)
    } else {
        (one.latency + NOISE, fade(other, one) + NOISE)
    }
}

fn penalty(known: &Known) -> f64 {
    let failing = known.failing * known.freshness;
    1.0 + PENALTY * failing * failing
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::balance::Outcome;

    fn table(weights: &[(u32, u16)], now: Instant) -> (Table, Vec<Arc<Node>>) {
        let nodes: Vec<_> = weights.iter().map(|_| Arc::new(Node::new(now))).collect();
        let entry = |(node, (weight, priority)): (&Arc<Node>, &(u32, u16))| Entry {
            node: Arc::clone(node),
            weight: *weight,
            priority: *priority,
        };
        (Table::new(nodes.iter().zip(weights).map(entry).collect()), nodes)
    }

    fn choose(table: &Table, tried: &[u64], now: Instant, rng: &mut Rng) -> Option<usize> {
        table.choose(tried, now, &Options::default(), rng)
    }

    fn unreachable(node: &Node, now: Instant) {
        node.note(Outcome::Unreachable, None, now, &Options::default(), || false);
    }

    #[test]
    fn pending_requests_are_spread_evenly() {
        let (now, mut rng) = (Instant::now(), Rng::with_seed(1));
        let (table, nodes) = table(&[(1, 0); 10], now);
        for _ in 0..1000 {
            let index = choose(&table, &[], now, &mut rng).expect("one");
            nodes[index].begin(now);
        }
        let pending: Vec<_> = nodes.iter().map(|node| node.pending()).collect();
        // Of two that are within a quarter of each other either will do.
        assert!(pending.iter().all(|pending| (80..=120).contains(pending)), "{pending:?}");
        for node in &nodes[..9] {
            (0..node.pending()).for_each(|_| node.end());
        }
        for _ in 0..50 {
            assert_ne!(choose(&table, &[], now, &mut rng), Some(9), "the only one that is busy");
        }
    }

    #[test]
    fn those_tried_and_those_out_get_nothing_while_there_is_another() {
        let (now, mut rng) = (Instant::now(), Rng::with_seed(2));
        let (table, nodes) = table(&[(1, 0); 20], now);
        for node in &nodes[..18] {
            unreachable(node, now);
        }
        assert_eq!(table.out(now), 18);
        for _ in 0..100 {
            assert!(choose(&table, &[], now, &mut rng) >= Some(18));
            assert_eq!(choose(&table, &[nodes[18].id()], now, &mut rng), Some(19));
        }
        nodes[18].set_ill(true, now);
        assert_eq!(choose(&table, &[], now, &mut rng), Some(19));
    }

    #[test]
    fn when_all_are_out_the_one_that_waits_least_is_tried() {
        let (now, mut rng) = (Instant::now(), Rng::with_seed(3));
        let (table, nodes) = table(&[(1, 0); 3], now);
        let later = now + Duration::from_secs(1);
        unreachable(&nodes[0], later);
        unreachable(&nodes[1], now);
        nodes[2].set_ill(true, now);
        for _ in 0..20 {
            assert_eq!(choose(&table, &[], now, &mut rng), Some(1));
            assert_eq!(choose(&table, &[nodes[1].id()], now, &mut rng), Some(0), "it was ill only to a check");
        }
        assert_eq!(choose(&table, &[nodes[0].id(), nodes[1].id()], now, &mut rng), Some(2));
        let all: Vec<_> = nodes.iter().map(|node| node.id()).collect();
        assert_eq!(choose(&table, &all, now, &mut rng), None);
        assert_eq!(choose(&Table::new(Vec::new()), &[], now, &mut rng), None);
    }

    #[test]
    fn the_next_priority_takes_over_when_all_of_the_first_are_out() {
        let (now, mut rng) = (Instant::now(), Rng::with_seed(4));
        let (table, nodes) = table(&[(1, 20), (5, 10), (1, 10)], now);
        for _ in 0..50 {
            assert_ne!(choose(&table, &[], now, &mut rng), Some(0));
        }
        unreachable(&nodes[1], now);
        unreachable(&nodes[2], now);
        assert_eq!(choose(&table, &[], now, &mut rng), Some(0));
        let rest = now + Duration::from_secs(1);
        assert_ne!(choose(&table, &[], rest, &mut rng), Some(0), "they are tried again");
    }
}
