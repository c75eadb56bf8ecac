//! A group under load, in virtual time: who gets how much.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::{Change, Eject, Entry, Node, Options, Outcome, Table};

/// How one upstream answers a request that comes at a time.
type Behaviour = fn(at: Duration, rng: &mut Rng) -> (Duration, Outcome);

struct Simulation {
    options: Options,
    weights: Vec<u32>,
    behaviour: Vec<Behaviour>,
    /// Requests a second, at random times.
    rate: f64,
    seconds: u64,
    /// From this second on they are counted.
    from: u64,
    /// Those that begin with the rest of the group in full swing.
    newcomers: Vec<usize>,
}

/// A reply on its way: when it comes, of whom, how long it took, how it turned out.
type Reply = Reverse<(Duration, usize, Duration, u8)>;

const OUTCOMES: [Outcome; 4] = [Outcome::Good, Outcome::Failed, Outcome::Error, Outcome::Unreachable];

impl Simulation {
    fn of<const N: usize>(behaviour: [Behaviour; N]) -> Simulation {
        Simulation {
            options: Options::default(),
            weights: vec![1; N],
            behaviour: behaviour.to_vec(),
            rate: 200.0,
            seconds: 60,
            from: 20,
            newcomers: Vec::new(),
        }
    }

    /// What part of the requests each got.
    fn shares(&self) -> Vec<f64> {
        self.run().0
    }

    fn run(&self) -> (Vec<f64>, Vec<Change>) {
        let (seconds, changes) = self.run_by_seconds();
        let counts: Vec<f64> =
            (0..self.weights.len()).map(|index| seconds.iter().map(|counts| counts[index]).sum()).collect();
        let all: f64 = counts.iter().sum();
        (counts.into_iter().map(|count| count / all).collect(), changes)
    }

    /// How many requests each got in each second.
    fn run_by_seconds(&self) -> (Vec<Vec<f64>>, Vec<Change>) {
        fastrand::seed(5);
        let (mut rng, epoch) = (Rng::with_seed(7), Instant::now());
        let nodes: Vec<_> = self.weights.iter().map(|_| Arc::new(Node::new(epoch))).collect();
        for index in &self.newcomers {
            nodes[*index].start_slowly(epoch + Duration::from_secs(self.from));
        }
        let entry = |(node, weight): (&Arc<Node>, &u32)| Entry { node: Arc::clone(node), weight: *weight, priority: 0 };
        let table = Table::new(nodes.iter().zip(&self.weights).map(entry).collect());
        let (mut replies, mut changes) = (BinaryHeap::<Reply>::new(), Vec::new());
        let mut counts = Vec::new();
        let mut at = Duration::ZERO;
        while at < Duration::from_secs(self.seconds) {
            at += Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / self.rate);
            while let Some(Reverse((due, index, took, outcome))) = replies.pop_if_due(at) {
                let now = epoch + due;
                let room = || self.options.eject.has_room(table.len(), table.out(now));
                changes.extend(nodes[index].note(OUTCOMES[usize::from(outcome)], Some(took), now, &self.options, room));
                nodes[index].end();
            }
            let index = table.choose(&[], epoch + at, &self.options, &mut rng).expect("one");
            nodes[index].begin(epoch + at);
            let (took, outcome) = (self.behaviour[index])(at, &mut rng);
            let outcome = OUTCOMES.iter().position(|one| *one == outcome).expect("one of them");
            replies.push(Reverse((at + took, index, took, u8::try_from(outcome).expect("few"))));
            if (self.from..self.seconds).contains(&at.as_secs()) {
                let second = usize::try_from(at.as_secs() - self.from).expect("few");
                counts.resize(counts.len().max(second + 1), vec![0.0; nodes.len()]);
                counts[second][index] += 1.0;
            }
        }
        (counts, changes)
    }
}

trait PopIfDue {
    fn pop_if_due(&mut self, at: Duration) -> Option<Reply>;
}

impl PopIfDue for BinaryHeap<Reply> {
    fn pop_if_due(&mut self, at: Duration) -> Option<Reply> {
        if self.peek()?.0.0 <= at { self.pop() } else { None }
    }
}

/// So many milliseconds on average, half of that at least.
fn about(ms: f64, rng: &mut Rng) -> Duration {
    Duration::from_secs_f64(ms / 1e3 * (0.5 - 0.5 * (1.0 - rng.f64()).ln()))
}

fn well(_: Duration, rng: &mut Rng) -> (Duration, Outcome) {
    (about(10.0, rng), Outcome::Good)
}

fn slow(_: Duration, rng: &mut Rng) -> (Duration, Outcome) {
    (about(50.0, rng), Outcome::Good)
}

fn fails_at_once(_: Duration, rng: &mut Rng) -> (Duration, Outcome) {
    (about(0.1, rng), Outcome::Failed)
}

fn errs_at_once(_: Duration, rng: &mut Rng) -> (Duration, Outcome) {
    (about(0.1, rng), Outcome::Error)
}

fn fails_until_200(at: Duration, rng: &mut Rng) -> (Duration, Outcome) {
    if at.as_secs() < 200 { fails_at_once(at, rng) } else { well(at, rng) }
}

fn refuses_until_65(at: Duration, rng: &mut Rng) -> (Duration, Outcome) {
    if (20..65).contains(&at.as_secs()) { (about(0.1, rng), Outcome::Unreachable) } else { well(at, rng) }
}

fn is_silent_until_65(at: Duration, rng: &mut Rng) -> (Duration, Outcome) {
    if (20..65).contains(&at.as_secs()) { (Duration::from_millis(1500), Outcome::Unreachable) } else { well(at, rng) }
}

#[track_caller]
fn assert_near(shares: &[f64], want: &[f64], by: f64) {
    assert!(shares.iter().zip(want).all(|(share, want)| (share - want).abs() <= by), "{shares:?} and not {want:?}");
}

#[test]
fn equals_get_equal_parts_whatever_the_load() {
    for rate in [5.0, 200.0, 5000.0] {
        let seconds = if rate < 10.0 { 1000 } else { 40 };
        let shares = Simulation { rate, seconds, ..Simulation::of([well; 4]) }.shares();
        assert_near(&shares, &[0.25; 4], 0.02);
    }
}

#[test]
fn weights_share_small_loads_and_large_ones() {
    for rate in [20.0, 200.0, 5000.0] {
        let seconds = if rate < 100.0 { 500 } else { 40 };
        let simulation = Simulation { rate, seconds, weights: vec![1, 2, 5], ..Simulation::of([well; 3]) };
        assert_near(&simulation.shares(), &[0.125, 0.25, 0.625], 0.06);
    }
}

#[test]
fn a_small_weight_stays_small_while_little_runs() {
    for weights in [vec![1, 3], vec![1, 10], vec![1, 100]] {
        let all = f64::from(weights[0] + weights[1]);
        let want = weights.iter().map(|weight| f64::from(*weight) / all).collect::<Vec<_>>();
        for rate in [20.0, 100.0, 200.0, 400.0, 1000.0] {
            let seconds = if rate < 100.0 { 500 } else { 40 };
            let simulation = Simulation { rate, seconds, weights: weights.clone(), ..Simulation::of([well; 2]) };
            assert_near(&simulation.shares(), &want, 0.03);
        }
    }
}

#[test]
fn one_that_fails_at_once_gets_next_to_nothing() {
    // With nobody ejected: that alone is not what keeps requests away.
    let mut options = Options::default();
    (options.eject.failures, options.eject.percent) = (0, 0);
    for behaviour in [fails_at_once as Behaviour, errs_at_once] {
        for (rate, count) in [(20.0, 2), (200.0, 2), (200.0, 3), (5000.0, 3)] {
            let mut simulation = Simulation { rate, options: options.clone(), ..Simulation::of([well; 3]) };
            simulation.behaviour[0] = behaviour;
            simulation.weights.truncate(count);
            let shares = simulation.shares();
            assert!(shares[0] < 0.01, "{shares:?} at {rate}");
        }
    }
}

#[test]
fn one_that_fails_is_ejected_for_longer_and_longer_and_is_back_when_it_is_well() {
    let simulation =
        Simulation { rate: 500.0, from: 300, seconds: 360, ..Simulation::of([fails_until_200, well, well]) };
    let (shares, changes) = simulation.run();
    assert_near(&shares, &[1.0 / 3.0; 3], 0.03);
    let (last, ejections) = changes.split_last().expect("some");
    assert_eq!(*last, Change::Back);
    let lengths: Vec<_> = ejections
        .iter()
        .map(|change| if let Change::Ejected(rest) = change { *rest } else { panic!("{changes:?}") })
        .collect();
    assert!(lengths.len() >= 3 && lengths.is_sorted(), "{changes:?}");
}

#[test]
fn one_that_cannot_be_reached_for_long_has_its_part_within_seconds_and_costs_little_before() {
    for behaviour in [refuses_until_65 as Behaviour, is_silent_until_65] {
        for (rate, count) in [(20.0, 2), (200.0, 3), (2000.0, 4)] {
            let shares = |from, seconds| {
                let mut simulation = Simulation { rate, from, seconds, ..Simulation::of([well; 4]) };
                simulation.behaviour[0] = behaviour;
                simulation.weights.truncate(count);
                simulation.shares()
            };
            // A rest of five seconds and a quarter, and the last that found nobody.
            assert_near(&shares(74, 94), &vec![1.0 / to_f64(count); count], 0.06);
            let tried = shares(30, 65)[0] * rate * 35.0;
            assert!((1.0..15.0).contains(&tried), "{tried} times at {rate}");
        }
    }
}

fn to_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[test]
fn a_slow_one_gets_what_it_can_do_and_no_more() {
    // Idle, the quick one does nearly everything; the slow one is asked now and then whether it still is slow.
    let idle = Simulation { rate: 5.0, seconds: 2000, ..Simulation::of([slow, well]) }.shares();
    assert!((0.002..0.1).contains(&idle[0]), "{idle:?}");
    // Busy, requests on their way there are as dear as five on the other.
    let busy = Simulation { rate: 5000.0, ..Simulation::of([slow, well]) }.shares();
    assert!((0.02..0.15).contains(&busy[0]), "{busy:?}");
    let many = Simulation { rate: 2000.0, ..Simulation::of([slow, well, well, well, well]) }.shares();
    assert!((0.005..0.1).contains(&many[0]), "{many:?}");
}

#[test]
fn a_newcomer_gets_more_and_more_until_it_has_its_part() {
    for rate in [50.0, 1000.0] {
        let part = |seconds: u64| {
            let mut simulation = Simulation { rate, from: 20, seconds: 20 + seconds, ..Simulation::of([well; 4]) };
            simulation.newcomers = vec![0];
            simulation.options.slow_start = Duration::from_secs(40);
            simulation.shares()[0]
        };
        let parts = [part(5), part(20), part(40), part(200)];
        assert!(parts.is_sorted(), "{parts:?} at {rate}");
        assert!(parts[0] < 0.06 && parts[1] < 0.12 && parts[3] > 0.2, "{parts:?} at {rate}");
    }
}

/// What part of the requests an upstream that joins should have in each five seconds of a slow start of 40 s, by the weight that is
/// shown for it in the middle of them.
fn promised(weights: &[u32], joins: u64) -> Vec<f64> {
    let (epoch, options) = (Instant::now(), Options { slow_start: Duration::from_secs(40), ..Options::default() });
    let node = Node::new(epoch);
    node.start_slowly(epoch + Duration::from_secs(joins));
    let part = |middle: f64| {
        let weight = f64::from(weights[0]) * node.picture(epoch + Duration::from_secs_f64(middle), &options).warmth;
        weight / (weight + f64::from(weights[1..].iter().sum::<u32>()))
    };
    (0..10).map(|n| part(20.0 + 2.5 + 5.0 * f64::from(n))).collect()
}

#[test]
fn the_part_of_one_that_joins_is_what_its_weight_says_that_is_shown() {
    for rate in [300.0, 1000.0] {
        for weights in [vec![1; 3], vec![1, 3, 3], vec![1; 10]] {
            let mut simulation = Simulation { rate, from: 20, seconds: 70, ..Simulation::of([well; 10]) };
            simulation.behaviour.truncate(weights.len());
            simulation.weights.clone_from(&weights);
            simulation.newcomers = vec![0];
            simulation.options.slow_start = Duration::from_secs(40);
            let (seconds, _) = simulation.run_by_seconds();
            let part = |seconds: &[Vec<f64>]| {
                seconds.iter().map(|counts| counts[0]).sum::<f64>() / seconds.iter().flatten().sum::<f64>()
            };
            let parts: Vec<_> = seconds.chunks(5).map(part).collect();
            assert_near(&parts, &promised(&weights, 20), 0.045);
        }
    }
}

/// How long each upstream that was ejected got nothing, in order, in the group given.
fn ejections(options: Eject, behaviour: [Behaviour; 4], seconds: u64) -> Vec<f64> {
    let options = Options { eject: options, ..Options::default() };
    let changes = Simulation { rate: 500.0, seconds, options, ..Simulation::of(behaviour) }.run().1;
    let rests = changes.iter().filter_map(|change| if let Change::Ejected(rest) = change { Some(*rest) } else { None });
    rests.map(|rest| rest.as_secs_f64()).collect()
}

#[test]
fn how_long_an_ejection_lasts_can_be_said() {
    let (first, longest) = (Duration::from_secs(1), Duration::from_secs(3));
    let failing: [Behaviour; 4] = [fails_at_once, well, well, well];
    let rests = ejections(Eject { first, longest, ..Eject::default() }, failing, 600);
    // Each is a quarter longer or shorter, by chance.
    assert!((0.75..=1.25).contains(&rests[0]) && (1.5..=2.5).contains(&rests[1]), "{rests:?}");
    assert!(rests[2..].len() > 5 && rests[2..].iter().all(|rest| (2.25..=3.75).contains(rest)), "{rests:?}");
}

#[test]
fn how_many_failures_are_too_many_can_be_said() {
    // A third of what it is sent, in turn: never two in a row.
    fn often(at: Duration, rng: &mut Rng) -> (Duration, Outcome) {
        if at.as_millis().is_multiple_of(3) { fails_at_once(at, rng) } else { well(at, rng) }
    }
    let failing: [Behaviour; 4] = [often; 4];
    let (usual, soon) =
        (Eject { failures: 0, ..Eject::default() }, Eject { failures: 0, percent: 25, ..Eject::default() });
    assert_eq!(ejections(usual, failing, 30).len(), 0);
    assert!(!ejections(soon, failing, 30).is_empty());
    let (patient, quick) = (Eject { failures: 40, ..Eject::default() }, Eject { failures: 2, ..Eject::default() });
    assert_eq!(ejections(Eject { percent: 0, ..patient }, failing, 30).len(), 0);
    assert!(!ejections(Eject { percent: 0, ..quick }, failing, 30).is_empty());
}

#[test]
fn how_many_may_be_left_alone_can_be_said() {
    let failing: [Behaviour; 4] = [fails_at_once; 4];
    // The longest that there is, so that nobody comes back.
    let rest = Duration::from_secs(300);
    for (most, count) in [(25, 1), (50, 2), (75, 3), (100, 3)] {
        assert_eq!(ejections(Eject { most, first: rest, ..Eject::default() }, failing, 30).len(), count, "{most}");
    }
}
