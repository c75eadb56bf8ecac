//! The admin page, as a browser shows it.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpListener;

use crate::browser::Browser;
use crate::client::Client;
use crate::config::File;
use crate::origin::Origin;
use crate::program::Program;

/// Callers of the pair.
const CALLERS: usize = 24;

/// Calls without end, as text that compresses like text.
async fn load(address: String) {
    let callers = (0..CALLERS).map(|_| async {
        let mut client = Client::connect(&address).await;
        loop {
            for path in ["/echo/products?page=1&sort=price", "/echo/cart", "/echo/orders/1847/items", "/size/900"] {
                client.get(path).await;
                // As fast as people, not as fast as possible: the machine has others to serve.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    join_all(callers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_told_where_there_are_several() {
    let origin = Origin::start().await;
    let group = |name: &str| format!("[group.{name}]\nurls = \"{}\"\n", origin.url());
    let start = "admin = \"127.0.0.1:0\"\n[listener.web]\nurl = \"http://127.0.0.1:0\"\n".to_owned();
    let one = start.clone() + &group("shop");
    let two = start
        + &group("shop")
        + &group("pages")
        + "[[route]]\npath = \"/shop\"\ngroup = \"shop\"\n[[route]]\ngroup = \"pages\"\n";
    let file = File::new(&one);
    let mut program = Program::start(&["--config", &file.path(), "--admin", "127.0.0.1:0"]).await;
    let admin = format!("http://{}/", program.admin().await);
    Browser::look(async |browser| {
        browser.open(&admin).await;
        let cells =
            "[...document.querySelectorAll('#upstreams td:nth-child(2)')].map((cell) => cell.textContent).join()";
        browser.until(&format!("{cells} == 'up'")).await;
        assert_eq!(browser.value("document.getElementById('group').hidden").await, true);
        file.write(&two);
        browser.until(&format!("{cells} == 'shop,pages' || {cells} == 'pages,shop'")).await;
        assert_eq!(browser.value("document.getElementById('group').hidden").await, false);
        file.write(&one);
        browser.until(&format!("{cells} == 'up'")).await;
        assert_eq!(browser.console().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_numbers_move_under_load_and_it_says_nothing_on_the_console() {
    let origin = Origin::start().await;
    let far = Program::start(&["--in", "teleport://127.0.0.1:0", "--out", &origin.url(), "--admin", ""]).await;
    let far_address = far.address().split(" (").next().expect("an address");
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    // One of the upstreams is not there.
    let out = format!("teleport://{far_address},teleport://{gone}");
    let args = ["--in", "http://127.0.0.1:0", "--out", &out, "--admin", "127.0.0.1:0", "--price-per-gb", "0.09"];
    let mut near = Program::start(&args).await;
    let admin = format!("http://{}/", near.admin().await);
    let loading = tokio::spawn(load(near.address().to_owned()));

    Browser::look(async |browser| {
        browser.emulate(1200, 900, false, "light").await;
        browser.open(&admin).await;
        let number = |id: &str| format!("parseFloat(document.getElementById('{id}').textContent.replaceAll(',', ''))");
        // A few rates, so that there is a line to see.
        browser.until("document.getElementById('trace').points.length >= 8").await;
        browser.until(&format!("{} > 100", number("rate"))).await;
        browser.until(&format!("{} > 3", number("ratio"))).await;
        browser.until(&format!("{} > 0", number("saved"))).await;
        for (id, text) in [("state", "serving"), ("saved-label", "Saved so far, at 0.09 a GB")] {
            assert_eq!(browser.value(&format!("document.getElementById('{id}').textContent")).await, text, "{id}");
        }
        let total = browser.value(&number("plain-total")).await;
        browser.until(&format!("{} != {total}", number("plain-total"))).await;
        assert_eq!(browser.value("document.querySelectorAll('#upstreams tr').length").await, 2);
        browser
            .until(&format!("document.querySelector('#upstreams tr.up').textContent.includes('{far_address}')"))
            .await;
        browser.until("document.querySelectorAll('#upstreams tr.unreachable').length == 1").await;
        browser.until("document.getElementById('troubles').textContent.includes('refused')").await;
        // What no client should send is told as well.
        for _ in 0..3 {
            assert_eq!(Client::connect(near.address()).await.ask("GET / HTTP/1.1\r\n\r\n").await.status(), 400);
        }
        browser.until("document.getElementById('troubles').textContent.includes('request refused with 400: no Host header3 times')").await;
        browser.until("document.getElementById('reasons').textContent.includes('malformed3')").await;
        assert_eq!(browser.value("document.getElementById('no-reasons').hidden").await, true);
        browser.until("document.querySelectorAll('#batches .track').length >= 3").await;
        browser.picture("admin-page.png").await;

        // Nothing sticks out on a phone.
        browser.emulate(390, 844, true, "light").await;
        browser.until("document.documentElement.scrollWidth == 390").await;
        browser.picture("admin-page-phone.png").await;
        browser.emulate(1200, 900, false, "dark").await;
        browser.until("getComputedStyle(document.body).backgroundColor == 'rgb(15, 18, 21)'").await;
        browser.picture("admin-page-dark.png").await;
        browser.emulate(390, 844, true, "dark").await;
        browser.picture("admin-page-phone-dark.png").await;
        assert_eq!(browser.console().await, Vec::<String>::new());

        loading.abort();
        drop(near);
        browser.until("document.getElementById('state').textContent == 'not reachable'").await;
        let said = browser.console().await;
        assert!(said.iter().all(|line| line.contains("ERR_CONNECTION_REFUSED")), "{said:?}");
    })
    .await;
}
