//! What the code of callers and handlers may do, under the lock or out of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_encoder_that_panics_leaves_no_stream() {
    let (near, _far) = duplex();
    let options = Options::default();
    let settings = options.settings.clone();
    let (caller, _client) = Driver::new(Role::Client, Box::new(near), options, settings, NoCalls);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = caller.call(|_| panic!("encoder"), SendBody::Whole(Bytes::new()), None);
    }));
    assert!(panicked.is_err());
    assert_eq!(caller.streams(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_whose_payload_panics_costs_its_call_alone() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped")
            }
        }
    }
    let (near, far) = duplex();
    let options = Options::default();
    let settings = options.settings.clone();
    let (caller, client) = Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
    let serve = |call: Incoming| async move {
        let _call = call;
        std::panic::panic_any(Bomb);
    };
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, serve);
    tokio::spawn(client);
    let server = tokio::spawn(server);
    let (reply, _) = caller.call(text(""), SendBody::Whole(Bytes::new()), None).unwrap();
    let _ = reply.await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!server.is_finished(), "{:?}", server.await.map(|_| ()));
}

#[tokio::test(start_paused = true)]
async fn a_responder_that_is_used_twice_answers_no_other_call() {
    let (near, far) = duplex();
    let options = Options::default();
    let settings = options.settings.clone();
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keeps = kept.clone();
    let serve = move |mut call: Incoming| {
        let keeps = keeps.clone();
        async move {
            if call.head == "first" {
                call.responder.reply(text("to the first"), SendBody::Whole(Bytes::new())).unwrap();
                keeps.lock().unwrap().push(call.responder);
            } else if call.head == "last" {
                let mut old = keeps.lock().unwrap().pop().unwrap();
                let _ = old.reply(text("meant for the first"), SendBody::Whole(Bytes::new()));
                std::future::pending::<()>().await;
            } else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                call.responder.reply(text("burst"), SendBody::Whole(Bytes::new())).unwrap();
            }
        }
    };
    let (caller, client) = Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
    let (_, server) = Driver::new(Role::Server, Box::new(far), options, settings, serve);
    tokio::spawn(client);
    tokio::spawn(server);
    let call = |head: &str| caller.call(text(head), SendBody::Whole(Bytes::new()), None).unwrap().0;
    call("first").await.unwrap();
    let burst: Vec<_> = (0..1100).map(|_| call("burst")).collect();
    for reply in burst {
        reply.await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let last = tokio::time::timeout(Duration::from_secs(5), call("last")).await;
    assert!(last.is_err(), "{:?}", last.unwrap().unwrap().head);
}

#[test]
fn a_waker_of_before_is_not_dropped_under_the_lock() {
    use fastrpc::internals::session::Caller;
    use std::future::Future;
    use std::task::{Context, Wake};
    struct Looks(Caller);
    impl Wake for Looks {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Looks {
        fn drop(&mut self) {
            let _ = self.0.streams();
        }
    }
    let (done, told) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _in = runtime.enter();
        let (near, _far) = duplex();
        let options = Options::default();
        let settings = options.settings.clone();
        let (caller, _client) = Driver::new(Role::Client, Box::new(near), options, settings, NoCalls);
        let (mut reply, _) = caller.call(text(""), SendBody::Whole(Bytes::new()), None).unwrap();
        let first = Waker::from(Arc::new(Looks(caller.clone())));
        let _ = std::pin::Pin::new(&mut reply).poll(&mut Context::from_waker(&first));
        drop(first);
        let _ = std::pin::Pin::new(&mut reply).poll(&mut Context::from_waker(Waker::noop()));
        done.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(5)).expect("it locked itself out");
}
