//! From a listener's requests to the groups that they go to.

use std::sync::Arc;

use http::header::HOST;
use http::{Request, Response};

use self::table::Table;
use crate::balance::{Load, Slots};
use crate::body::Body;
use crate::config::{self, Edit, Fields};
use crate::outbound::FailureKind;
use crate::proxy::Proxy;
use crate::refusal::{Reason, Refusal};
use crate::request::{Outgoing, RequestBody, withhold};
use crate::spelling::Spellings;
use crate::trailers::Withheld;

mod table;

/// The routes of one listener, and the places for requests that all listeners share.
#[derive(Clone)]
pub(crate) struct Router {
    routes: Arc<Table<Route>>,
    slots: Arc<Slots>,
}

/// A route, and the group at its end.
struct Route {
    edit: Edit,
    /// The fields that it changes.
    edited: Spellings,
    /// Names that its requests have no trailers of.
    withheld: Withheld,
    /// There only if it changes anything.
    reply: Option<Arc<Change>>,
    proxy: Arc<Proxy>,
}

/// What a route changes in replies.
struct Change {
    /// In their heads.
    fields: Fields,
    /// Names that they have no trailers of.
    withheld: Withheld,
}

/// A request that has its place and knows its way.
pub(crate) struct Routed {
    pub(crate) request: Outgoing,
    /// The group that it goes to.
    pub(crate) proxy: Arc<Proxy>,
    /// Its place among all.
    pub(crate) slot: Load,
    /// What remains to be done when there is a reply.
    pub(crate) after: After,
}

/// What remains to be done when a request has its reply.
pub(crate) struct After {
    /// What the request occupies of its client's limits.
    load: Option<Load>,
    /// What its route changes in the reply.
    change: Option<Arc<Change>>,
}

impl After {
    /// Does it.
    pub(crate) fn apply(self, reply: &mut Response<Body>) {
        if let Some(change) = self.change {
            change.fields.apply(reply.headers_mut());
            change.withheld.clean_announced(reply.headers_mut());
            reply.body_mut().withhold(&change.withheld);
        }
        reply.body_mut().keep(self.load);
    }
}

impl Router {
    /// The routes that take requests of the listener of this index, over the groups in the order of the settings.
    pub(crate) fn new(listener: usize, routes: &[config::Route], groups: &[Arc<Proxy>], slots: Arc<Slots>) -> Router {
        let mut taking: Vec<_> = routes.iter().filter(|route| route.takes(listener)).collect();
        // Of several for the same hosts and paths the table takes the first one.
        taking.sort_by_key(|route| route.listener.is_none());
        let way = |route: &config::Route| {
            (route.host.clone(), route.path.clone(), Route::new(route, Arc::clone(&groups[route.group])))
        };
        Router { routes: Arc::new(Table::new(taking.into_iter().map(way))), slots }
    }

    /// Gives the request, which has this of its client's limits, its place and its way, and makes it what the upstreams of that
    /// way should see.
    ///
    /// # Errors
    ///
    /// 503 when too many requests run already, 404 when there is no way for this one.
    pub(crate) fn route(&self, mut request: Outgoing, load: Option<Load>) -> Result<Routed, Refusal> {
        let full = Refusal::new(Reason::Concurrency, "too many requests run already");
        let slot = self.slots.take().ok_or(full)?;
        let route = self.find(&request).ok_or(Refusal::new(Reason::NoRoute, "no route for this host and path"))?;
        route.edited.remove_others(request.headers_mut());
        route.edit.apply(request.headers_mut());
        withhold(&mut request, &route.withheld);
        let after = After { load, change: route.reply.clone() };
        Ok(Routed { proxy: Arc::clone(&route.proxy), request, slot, after })
    }

    /// Counts a request whose client has hung up in the middle of it, for the group at the end of its way.
    pub(crate) fn note_gone(&self, request: &Request<RequestBody>) {
        if let Some(route) = self.find(request) {
            route.proxy.failures().count(FailureKind::Request(Reason::Gone.status()));
        }
    }

    fn find(&self, request: &Request<RequestBody>) -> Option<&Route> {
        self.routes.find(|| host_of(request), request.uri().path())
    }
}

impl Route {
    fn new(route: &config::Route, proxy: Arc<Proxy>) -> Route {
        let change = |fields: &Fields| Change { fields: fields.clone(), withheld: Withheld::new(fields.names()) };
        let reply = Some(&route.reply).filter(|fields| !fields.is_empty()).map(change).map(Arc::new);
        let withheld = Withheld::new(route.edit.fields.names());
        let edited = Spellings::new(route.edit.fields.names());
        Route { edit: route.edit.clone(), edited, withheld, reply, proxy }
    }
}

/// The host that a request is for, without its port and without the dot that ends a whole name. Every request has one by now.
fn host_of(request: &Request<RequestBody>) -> &str {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or_default(),
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;
    use crate::config::Host;
    use crate::metrics::failures::Failures;
    use crate::outbound::Upstreams;

    fn router(routes: &[(Host, &str)]) -> (Router, Vec<Arc<Proxy>>) {
        let groups: Vec<_> = routes
            .iter()
            .map(|_| Arc::new(Proxy::new(Upstreams::none(), Duration::from_secs(1), Failures::default())))
            .collect();
        let route = |(group, (host, path)): (usize, &(Host, &str))| config::Route {
            host: host.clone(),
            path: (*path).to_owned(),
            ..config::Route::everything(group)
        };
        let routes: Vec<_> = routes.iter().enumerate().map(route).collect();
        (Router::new(0, &routes, &groups, Arc::new(Slots::new(1))), groups)
    }

    fn request(host: &'static str, path: &str) -> Outgoing {
        let mut request = Outgoing::default();
        request.headers_mut().insert(HOST, HeaderValue::from_static(host));
        *request.uri_mut() = path.parse().expect("a path");
        request
    }

    #[test]
    fn the_most_specific_route_takes_the_request() {
        let is = |host: &str| Host::Is(host.to_owned());
        let below = |end: &str| Host::EndsWith(end.to_owned());
        let (router, groups) = router(&[
            (Host::Any, "/"),
            (Host::Any, "/api"),
            (below(".example.com"), "/"),
            (below(".b.example.com"), "/"),
            (is("a.example.com"), "/"),
            (is("a.example.com"), "/api/"),
            (is("[::1]"), "/"),
        ]);
        let cases = [
            ("other", "/", 0),
            ("other", "/apix", 0),
            ("other", "/x/api", 0),
            ("other", "/api", 1),
            ("other", "/api/", 1),
            ("other:81", "/api/x?y", 1),
            ("example.com", "/api", 1),
            ("c.example.com", "/api", 2),
            ("C.Example.Com:8080", "/", 2),
            ("x.b.example.com", "/", 3),
            ("b.example.com", "/", 2),
            ("A.example.com.", "/", 4),
            ("a.example.com:80", "/api/x", 5),
            ("[::1]:80", "/", 6),
        ];
        for (host, path, want) in cases {
            let routed = router.route(request(host, path), None).expect("a way");
            assert!(Arc::ptr_eq(&routed.proxy, &groups[want]), "{host}{path}");
        }
    }

    #[test]
    fn a_route_of_the_listener_alone_wins_where_hosts_and_paths_are_the_same() {
        let new_proxy = || Arc::new(Proxy::new(Upstreams::none(), Duration::from_secs(1), Failures::default()));
        let groups = [(); 4].map(|()| new_proxy());
        let general = config::Route::everything(0);
        let own = config::Route { listener: Some(1), ..config::Route::everything(1) };
        let below = config::Route { path: "/api".to_owned(), ..config::Route::everything(2) };
        let own_below = config::Route { listener: Some(1), path: "/api/".to_owned(), ..config::Route::everything(3) };
        for routes in [
            [&general, &own, &below, &own_below].map(Clone::clone),
            [&own_below, &own, &below, &general].map(Clone::clone),
        ] {
            for (listener, path, want) in [(0, "/", 0), (1, "/", 1), (0, "/api/x", 2), (1, "/api/x", 3)] {
                let router = Router::new(listener, &routes, &groups, Arc::new(Slots::new(1)));
                let routed = router.route(request("h", path), None).expect("a way");
                assert!(Arc::ptr_eq(&routed.proxy, &groups[want]), "{listener} {path}");
            }
            let routes: Vec<_> = routes.into_iter().filter(|route| route.group != 3).collect();
            let router = Router::new(1, &routes, &groups, Arc::new(Slots::new(1)));
            let routed = router.route(request("h", "/api"), None).expect("a way");
            assert!(Arc::ptr_eq(&routed.proxy, &groups[2]), "the longer path wins over the listener");
        }
    }

    #[test]
    fn no_way_is_404_and_no_place_503() {
        let (router, _groups) = router(&[(Host::Is("a".to_owned()), "/x")]);
        let refused = |path| router.route(request("a", path), None).err().map(|refusal| refusal.0);
        assert_eq!(refused("/"), Some(Reason::NoRoute));
        let first = router.route(request("a", "/x"), None);
        assert!(first.is_ok(), "a place is free again after a refusal");
        let Err(Refusal(reason, why)) = router.route(request("a", "/x"), None) else { panic!("one too many") };
        assert_eq!(reason, Reason::Concurrency);
        assert_eq!(why, "too many requests run already");
        drop(first);
        assert!(router.route(request("a", "/x"), None).is_ok());
    }

    #[test]
    fn a_route_changes_what_it_says() {
        let header = |name: &'static str| http::HeaderName::from_static(name);
        let value = HeaderValue::from_static;
        let fields = Fields {
            remove: vec![header("x-gone"), header("x-again")],
            set: vec![(header("x-set"), value("new")), (header("x-again"), value("there"))],
        };
        let edit = Edit { fields, host: Some(value("inner")) };
        let mut request = request("outer", "/");
        for (name, text) in [("x-gone", "1"), ("x-set", "old"), ("x-set", "older"), ("x-kept", "k")] {
            request.headers_mut().append(header(name), value(text));
        }
        edit.apply(request.headers_mut());
        let mut fields: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        fields.sort_unstable();
        let want: [(&str, &[u8]); 4] = [("host", b"inner"), ("x-again", b"there"), ("x-kept", b"k"), ("x-set", b"new")];
        assert_eq!(fields, want);
    }
}
