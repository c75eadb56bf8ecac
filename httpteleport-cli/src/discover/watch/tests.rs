use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::discover::dns::tests::{A, read, server};
use crate::discover::{Failed, Families, Search, begin};
use crate::interims::Interims;
use crate::outbound::{HttpUpstream, Upstream};
use crate::shutdown::Shutdown;

fn entry(url: &str) -> Entry {
    let source = Source::parse(url).expect("a URL");
    let name = source.to_string();
    Entry { id: 1, source, name, places: Vec::new(), most: 1000, is_cut: false, due: None, failures: 0, lacking: None }
}

fn looked(urls: &[&str], now: Instant, is_all: bool) -> Result<Looked, String> {
    let place = |url: &&str| Source::parse(url).expect("a URL").fixed().expect("an address");
    Ok(Looked {
        places: urls.iter().map(place).collect(),
        again: now + Duration::from_secs(7),
        is_all,
        failed: None,
        lacking: None,
        late: None,
    })
}

fn urls(entry: &Entry) -> Vec<String> {
    entry.places.iter().map(ToString::to_string).collect()
}

fn seconds_to(due: Option<Instant>, now: Instant) -> f64 {
    due.expect("it is looked up again").saturating_duration_since(now).as_secs_f64()
}

#[test]
fn what_is_not_found_leaves_what_was_there_and_is_asked_for_more_and_more_seldom() {
    let (mut entry, now) = (entry("http+srv://_a._tcp.b"), Instant::now());
    assert!(!entry.learn(Err("no answer".to_owned()), now));
    assert!(entry.learn(looked(&["http://10.0.0.2", "http://10.0.0.1"], now, false), now), "some are better than none");
    assert!(!entry.learn(looked(&["http://10.0.0.1", "http://10.0.0.2"], now, true), now), "the order is no change");
    assert_eq!(seconds_to(entry.due, now), 7.0);
    assert!(!entry.learn(looked(&["http://10.0.0.1"], now, false), now), "the other may be there");
    let mut last = 0.0;
    for _ in 0..10 {
        let pause = seconds_to(entry.due, now);
        assert!((1.0..=37.5).contains(&pause) && pause >= last * 0.8, "{pause} after {last}");
        last = pause;
        assert!(!entry.learn(Err("no answer".to_owned()), now));
    }
    assert_eq!(entry.places.len(), 2);
    assert!(entry.learn(looked(&["http://10.0.0.1"], now, true), now));
    assert_eq!((entry.places.len(), entry.failures), (1, 0));
}

#[test]
fn of_very_many_addresses_the_same_thousand_are_used() {
    let (mut entry, now) = (entry("http://a"), Instant::now());
    let many: Vec<_> = (0..4000).map(|n| format!("http://10.0.{}.{}", n / 250, n % 250)).collect();
    let found = |urls: &[String]| looked(&urls.iter().map(String::as_str).collect::<Vec<_>>(), now, true);
    assert!(entry.learn(found(&many[..1000]), now));
    assert_eq!((entry.places.len(), entry.is_cut), (1000, false));
    assert!(entry.learn(found(&many), now));
    assert_eq!((entry.places.len(), entry.is_cut), (1000, true));
    let (turned, before) = (many.iter().rev().cloned().collect::<Vec<_>>(), urls(&entry));
    assert!(!entry.learn(found(&turned), now), "answers come in any order");
    assert!(entry.learn(found(&many[400..]), now));
    let kept = urls(&entry).into_iter().filter(|url| before.contains(url)).count();
    let gone = before.iter().filter(|url| many[..400].contains(&url.replace(":80", ""))).count();
    assert_eq!(kept, 1000 - gone, "only those that are gone are replaced");
    assert!(entry.learn(found(&many[..10]), now));
    assert_eq!((entry.places.len(), entry.is_cut), (10, false));
}

#[test]
fn only_a_subset_says_how_many_of_a_host_are_used() {
    let most = |url: &str, subset: Option<Subset>| {
        let options = Options { subset, ..Options::default() };
        let watch = Watch::new(&[Source::parse(url).expect("a URL")], &options, &Known::default()).expect("fine");
        watch.parts[0].entries[0].most
    };
    assert_eq!(most("http://a", None), 1000);
    assert_eq!(most("http://a", Some(Subset { size: 5, node: 1 })), usize::MAX);
    assert_eq!(most("http+srv://_a._tcp.b", None), usize::MAX);
}

#[test]
fn a_family_that_is_late_costs_no_address_and_is_no_failure() {
    let (mut entry, now) = (entry("http://a"), Instant::now());
    let early = |urls: &[&str]| looked(urls, now, true).expect("found");
    assert!(entry.learn_early(early(&["http://10.0.0.1"]), Families::IPV6), "one is better than none");
    assert!(entry.learn(looked(&["http://10.0.0.1", "http://[fd00::1]"], now, true), now));
    // From now on it is late each time, and nothing moves.
    for _ in 0..3 {
        assert!(!entry.learn_early(early(&["http://10.0.0.1"]), Families::IPV6));
        assert!(!entry.learn(looked(&["http://10.0.0.1", "http://[fd00::1]"], now, true), now));
    }
    assert!(entry.learn_early(early(&["http://10.0.0.2"]), Families::IPV6), "the others change at once");
    assert_eq!(urls(&entry), ["http://10.0.0.2:80", "http://[fd00::1]:80"]);
    assert_eq!(entry.failures, 0);
    assert!(!entry.learn_early(Looked { is_all: false, ..early(&["http://10.0.0.2"]) }, Families::IPV6));
    assert!(entry.learn(looked(&["http://10.0.0.2"], now, true), now), "it has none");
}

#[test]
fn addresses_of_a_family_that_cannot_be_looked_up_stay_and_others_change() {
    let (mut entry, now) = (entry("http://a"), Instant::now());
    let without_six = |urls: &[&str]| {
        let failed = Failed { families: Families::IPV6, why: "no answer".to_owned() };
        Ok(Looked { failed: Some(failed), ..looked(urls, now, true).expect("found") })
    };
    entry.learn(looked(&["http://10.0.0.1", "http://[fd00::1]"], now, true), now);
    assert!(entry.learn(without_six(&["http://10.0.0.2"]), now));
    assert_eq!(urls(&entry), ["http://10.0.0.2:80", "http://[fd00::1]:80"]);
    assert!((1.0..=1.25).contains(&seconds_to(entry.due, now)), "soon, as after other failures");
    for _ in 0..5 {
        assert!(!entry.learn(without_six(&["http://10.0.0.2"]), now));
    }
    assert_eq!(seconds_to(entry.due, now), 7.0, "no more seldom than the others are looked up");
    assert!(entry.learn(looked(&["http://10.0.0.2"], now, true), now), "it has none any more");
    assert_eq!((urls(&entry), entry.failures), (vec!["http://10.0.0.2:80".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_line_of_a_file_whose_weight_alone_changes_leads_where_it_led() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("upstreams");
    let write = |text: &str| std::fs::write(&file, text).expect("written");
    write("http://a\nhttp://10.0.0.9#backup\n");
    let source = Source::parse(&format!("file:{}", file.display())).expect("a path");
    let mut watch = Watch::new(&[source], &Options::default(), &Known::default()).expect("fine");
    let now = Instant::now();
    let first = &mut watch.parts[0].entries[0];
    assert!(first.learn(looked(&["http://10.0.0.1", "http://10.0.0.2"], now, true), now));
    let (backup, other) = (u16::MAX, "http://10.0.0.9:80 1 65535");
    for (line, weight, priority) in [("http://a#weight=3", 3, 0), ("http://a#backup", 1, backup), ("http://a", 1, 0)] {
        write(&format!("# {line}\n{line}\nhttp://10.0.0.9#backup\nhttp://b\n"));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(watch.read_files().await, "{line}");
        let first = &mut watch.parts[0].entries[0];
        assert!(first.due.is_some(), "it is looked up at once");
        assert!(!first.learn(Err("no answer".to_owned()), Instant::now()), "that changes nothing");
        let places = watch.places();
        let shown: Vec<_> = places.iter().map(|place| format!("{place} {} {}", place.weight, place.priority)).collect();
        let led = |n| format!("http://10.0.0.{n}:80 {weight} {priority}");
        assert_eq!(shown, [led(1), led(2), other.to_owned()], "{line}");
    }
}

/// The upstreams of a group whose names that server knows.
async fn group(url: &str, server: SocketAddr) -> Arc<Upstreams> {
    let build = |place: &Place| {
        let (patience, shutdown) = (Duration::from_secs(3), Shutdown::new());
        let upstream = HttpUpstream::new(place, None, 1, 4096, patience, shutdown, Interims::default())?;
        Ok(Upstream::Http(Box::new(upstream)))
    };
    let upstreams = Arc::new(Upstreams::new(Default::default(), 12, Box::new(build)));
    let options = Options { resolver: Some(server), ..Options::default() };
    let sources = [Source::parse(url).expect("a URL")];
    let search = Search::new(&sources, &options, &Known::default(), &upstreams).expect("fine");
    assert!(matches!(&begin(vec![(0, search)]).await[..], [(0, Ok(missing))] if missing.is_empty()));
    upstreams
}

fn names(upstreams: &Upstreams) -> Vec<String> {
    upstreams.snapshot().into_iter().map(|upstream| upstream.name).collect()
}

#[tokio::test]
async fn who_hears_nothing_of_a_family_begins_with_the_other_one_and_adds_it_when_it_comes() {
    let (four, six) = ("http://10.0.0.1:80 (api.example)", "http://[fd00::1]:80 (api.example)");
    let mute = Arc::new(AtomicBool::new(true));
    let drops = Arc::clone(&mute);
    let server = server(move |kind| match kind {
        A => Some(Ok(read("10.0.0.1"))),
        _ if drops.load(Ordering::SeqCst) => None,
        _ => Some(Ok(read("fd00::1"))),
    });
    let began = Instant::now();
    let upstreams = group("http://api.example", server.await).await;
    assert_eq!(names(&upstreams), [four]);
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
    mute.store(false, Ordering::SeqCst);
    let comes = async {
        while names(&upstreams).len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), comes).await.expect("in time");
    assert_eq!(names(&upstreams), [four, six]);
}
