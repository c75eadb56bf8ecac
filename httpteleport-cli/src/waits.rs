//! Waits that the log tells of when they take long.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

/// Long enough for somebody to wonder.
const LONG: Duration = Duration::from_secs(1);

/// Waits for something; once that has taken a second, says in the log what for. As cancel safe as what it waits for.
pub(crate) async fn telling<T>(line: impl FnOnce() -> String, what: impl Future<Output = T>) -> T {
    let mut what = pin!(what);
    if let Ok(done) = timeout(LONG, &mut what).await {
        return done;
    }
    tracing::info!("{}", line());
    what.await
}
