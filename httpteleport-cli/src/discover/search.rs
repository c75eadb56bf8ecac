//! What a name may be short for.

use hickory_resolver::config::ResolverConfig;

/// The domains of this system, in which short names are looked for.
#[derive(Clone, Debug)]
pub(super) struct Search {
    domains: Vec<String>,
    /// Names with so many dots are first taken as they are.
    dots: usize,
}

impl Search {
    pub(super) fn new(config: &ResolverConfig, dots: usize) -> Search {
        let domains = config.domain().into_iter().chain(config.search()).map(ToString::to_string);
        let mut search = Search { domains: Vec::new(), dots };
        for domain in domains.map(|domain| domain.trim_end_matches('.').to_owned()) {
            if !domain.is_empty() && !search.domains.contains(&domain) {
                search.domains.push(domain);
            }
        }
        search
    }

    /// The whole names that it may be, the likeliest first.
    pub(super) fn names(&self, host: &str) -> Vec<String> {
        if host.ends_with('.') {
            return vec![host.to_owned()];
        }
        let whole = format!("{host}.");
        let mut names: Vec<_> = self.domains.iter().map(|domain| format!("{host}.{domain}.")).collect();
        let first = host.matches('.').count() >= self.dots;
        names.insert(if first { 0 } else { names.len() }, whole);
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_name_comes_first_if_it_has_dots_enough() {
        let search = Search { domains: vec!["b.c".to_owned(), "c".to_owned()], dots: 2 };
        assert_eq!(search.names("x"), ["x.b.c.", "x.c.", "x."]);
        assert_eq!(search.names("x.y.z"), ["x.y.z.", "x.y.z.b.c.", "x.y.z.c."]);
        assert_eq!(search.names("x."), ["x."]);
    }
}
