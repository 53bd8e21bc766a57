//! What subscribers of one repository are told, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{Cursor, Event};

/// What happened lately, and who waits for more.
#[derive(Default)]
pub(crate) struct Feed(Mutex<Lately>);

#[derive(Default)]
struct Lately {
    events: VecDeque<Arc<Event>>,
    /// The number of the first of them.
    first: u64,
    /// Refs in them.
    moves: usize,
    moves_max: usize,
    cursor: Cursor,
    waiting: BTreeMap<u64, Waker>,
    subscribed: u64,
    ended: bool,
}

/// What a subscriber is told next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// This is how the refs are; what he lists from now on has it all.
    At(Cursor),
    /// Refs moved.
    Event(Arc<Event>),
    /// More happened than is remembered. He has to list the refs, from now on.
    Relist(Cursor),
    /// That was all: the repository is gone, or the server ends.
    End,
}

/// A place in a feed. Dropped, nobody knows of it any more.
pub(crate) struct Subscription {
    feed: Arc<Feed>,
    /// Its own number.
    number: u64,
    /// The event to be told of next.
    next: u64,
    first: Option<Next>,
    /// Given back with it.
    _place: Box<dyn Send + Sync>,
}

impl Feed {
    /// A feed that remembers so many changes of refs.
    pub fn new(moves_max: usize) -> Self {
        Feed(Mutex::new(Lately { moves_max, ..Lately::default() }))
    }

    /// What was told so far was about how the refs came to be known.
    pub fn begin(&self, cursor: Cursor) {
        let mut lately = self.lock();
        *lately = Lately { cursor, moves_max: lately.moves_max, ..Lately::default() };
    }

    fn lock(&self) -> MutexGuard<'_, Lately> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all.
    pub fn push(&self, event: Event) {
        let mut lately = self.lock();
        lately.cursor = event.cursor;
        lately.moves += event.moves.len();
        lately.events.push_back(Arc::new(event));
        while lately.moves > lately.moves_max
            && let Some(oldest) = lately.events.pop_front()
        {
            lately.moves -= oldest.moves.len();
            lately.first += 1;
        }
        wake(lately);
    }

    /// Lets all go.
    pub fn end(&self) {
        let mut lately = self.lock();
        lately.ended = true;
        wake(lately);
    }

    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// One more subscriber, who knows the refs as they were at `since`, or does not know them.
    pub fn subscribe(
        self: &Arc<Self>,
        since: Option<Cursor>,
        place: Box<dyn Send + Sync>,
    ) -> Subscription {
        let mut lately = self.lock();
        let end = lately.first + lately.events.len() as u64;
        let (next, first) = match since {
            None => (end, Next::At(lately.cursor)),
            Some(since) if since == lately.cursor => (end, Next::At(since)),
            Some(since) => match lately.events.iter().rposition(|event| event.before == since) {
                Some(at) => (lately.first + at as u64, Next::At(since)),
                None => (end, Next::Relist(lately.cursor)),
            },
        };
        let number = lately.subscribed;
        lately.subscribed += 1;
        drop(lately);
        Subscription { feed: self.clone(), number, next, first: Some(first), _place: place }
    }
}

/// Wakes who waits, when nobody is kept from reading any more.
fn wake(mut lately: MutexGuard<'_, Lately>) {
    let waiting = std::mem::take(&mut lately.waiting);
    drop(lately);
    waiting.into_values().for_each(Waker::wake);
}

impl Subscription {
    /// What comes next; the waker is called when there is something.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(first);
        }
        let mut lately = self.feed.lock();
        if self.next < lately.first {
            self.next = lately.first + lately.events.len() as u64;
            return Poll::Ready(Next::Relist(lately.cursor));
        }
        let at = usize::try_from(self.next - lately.first).unwrap_or(usize::MAX);
        if let Some(event) = lately.events.get(at) {
            self.next += 1;
            return Poll::Ready(Next::Event(event.clone()));
        }
        if lately.ended {
            return Poll::Ready(Next::End);
        }
        lately.waiting.insert(self.number, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(before: u128, after: u128) -> Event {
        let (name, target) =
            (object::RefName::head(), storage::Target::Symbolic(object::RefName::head()));
        let one = super::super::RefMove { name, old: None, new: Some(target) };
        Event { before: Cursor(before), cursor: Cursor(after), moves: vec![one] }
    }

    fn next(subscription: &mut Subscription) -> Option<Next> {
        match subscription.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(next) => Some(next),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_comes_back_is_told_what_he_missed() {
        let feed = Arc::new(Feed::new(3));
        feed.begin(Cursor(1));
        let mut early = feed.subscribe(None, Box::new(()));
        assert_eq!(next(&mut early), Some(Next::At(Cursor(1))));
        assert_eq!(next(&mut early), None);
        // It goes back to where it was, and on.
        for (before, after) in [(1, 2), (2, 1), (1, 3)] {
            feed.push(event(before, after));
        }
        let mut all: Vec<_> = std::iter::from_fn(|| next(&mut early)).collect();
        assert_eq!(all.len(), 3);
        for (since, first, count) in [
            (Some(Cursor(3)), Next::At(Cursor(3)), 0),
            (Some(Cursor(1)), Next::At(Cursor(1)), 1),
            (Some(Cursor(2)), Next::At(Cursor(2)), 2),
            (Some(Cursor(9)), Next::Relist(Cursor(3)), 0),
            (None, Next::At(Cursor(3)), 0),
        ] {
            let mut late = feed.subscribe(since, Box::new(()));
            assert_eq!(next(&mut late), Some(first), "{since:?}");
            assert_eq!(std::iter::from_fn(|| next(&mut late)).count(), count, "{since:?}");
        }
        // More than is remembered.
        for (before, after) in [(3, 4), (4, 5), (5, 6), (6, 7)] {
            feed.push(event(before, after));
        }
        assert_eq!(next(&mut early), Some(Next::Relist(Cursor(7))));
        assert_eq!(next(&mut early), None);
        feed.push(event(7, 8));
        feed.end();
        all = std::iter::from_fn(|| next(&mut early)).take(2).collect();
        assert_eq!(all, [Next::Event(Arc::new(event(7, 8))), Next::End]);
    }

    #[test]
    fn nobody_waits_who_is_gone() {
        let feed = Arc::new(Feed::new(3));
        feed.begin(Cursor(1));
        let mut one = feed.subscribe(Some(Cursor(1)), Box::new(()));
        assert!(next(&mut one).is_some() && next(&mut one).is_none());
        assert_eq!(feed.lock().waiting.len(), 1);
        drop(one);
        assert_eq!(feed.lock().waiting.len(), 0);
    }
}
