//! Clients apart: one for each group of users who may see each other's data.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;

/// The longest key.
const LONGEST: usize = 1024;

/// The clients of a client's groups.
pub struct Groups<T> {
    most: usize,
    /// Those that nobody asked for that long are forgotten.
    idle: Duration,
    known: Mutex<HashMap<Box<[u8]>, Group<T>>>,
}

struct Group<T> {
    client: T,
    asked: Instant,
}

impl<T: Clone> Groups<T> {
    /// At most so many, of which those may be forgotten that nobody asked for that long.
    #[must_use]
    pub fn new(most: usize, idle: Duration) -> Self {
        Self { most, idle, known: Mutex::default() }
    }

    /// The client of a group, which is made if there is none. `pending` tells the calls of one.
    ///
    /// # Errors
    ///
    /// What `make` says; the key is too long; or there are as many groups as may, all with calls.
    pub fn get(
        &self,
        key: &[u8],
        pending: impl Fn(&T) -> usize,
        make: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        if key.len() > LONGEST {
            return Err(Error::config(format!("the key of a group has {} bytes: give at most {LONGEST}", key.len())));
        }
        let now = Instant::now();
        let mut forgotten = Vec::new(); // Clients close connections as they are dropped, so not under the lock.
        let mut known = self.lock();
        if let Some(group) = known.get_mut(key) {
            group.asked = now;
            return Ok(group.client.clone());
        }
        let idle = |group: &mut Group<T>| now - group.asked >= self.idle && pending(&group.client) == 0;
        forgotten.extend(known.extract_if(|_, group| idle(group)));
        if known.len() >= self.most {
            let free = known.iter().filter(|(_, group)| pending(&group.client) == 0);
            let oldest = free.min_by_key(|(_, group)| group.asked).map(|(key, _)| key.clone());
            let oldest = oldest.ok_or_else(|| self.full())?;
            forgotten.extend(known.remove_entry(&oldest));
        }
        let client = make()?;
        known.insert(key.into(), Group { client: client.clone(), asked: now });
        drop(known);
        drop(forgotten);
        Ok(client)
    }

    /// Those that there are.
    pub fn all(&self) -> Vec<T> {
        self.lock().values().map(|group| group.client.clone()).collect()
    }

    fn full(&self) -> Error {
        Error::overload(format!("{} groups have calls, as many as there may be: raise max_groups", self.most))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Group<T>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Groups<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;

    type Client = Arc<AtomicUsize>;

    fn get(groups: &Groups<Client>, key: &str) -> Result<Client, Error> {
        groups.get(key.as_bytes(), |calls| calls.load(Ordering::Relaxed), || Ok(Client::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn each_key_has_a_client_of_its_own_until_it_is_forgotten() {
        let groups = Groups::new(2, Duration::from_secs(100));
        let [a, b] = ["a", "b"].map(|key| get(&groups, key).unwrap());
        assert!(!Arc::ptr_eq(&a, &b) && Arc::ptr_eq(&a, &get(&groups, "a").unwrap()));
        a.store(1, Ordering::Relaxed);
        // There may be two: the one that has no calls gives way, and when both have, the new one.
        let c = get(&groups, "c").unwrap();
        assert!(Arc::ptr_eq(&a, &get(&groups, "a").unwrap()) && groups.all().len() == 2);
        c.store(1, Ordering::Relaxed);
        assert!(get(&groups, "d").unwrap_err().is_overload());
        // Idle ones go when somebody asks for another.
        a.store(0, Ordering::Relaxed);
        c.store(0, Ordering::Relaxed);
        sleep(Duration::from_secs(60)).await;
        get(&groups, "c").unwrap();
        sleep(Duration::from_secs(60)).await;
        get(&groups, "d").unwrap();
        assert_eq!((Arc::strong_count(&a), Arc::strong_count(&c)), (1, 2));
        assert!(get(&groups, &"x".repeat(1025)).unwrap_err().to_string().contains("at most 1024"));
    }
}
