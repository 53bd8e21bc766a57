//! What one caller is told: what he may see of what happened, and asked for.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bstr::{BStr, BString};
use repository::Repository;
use serve::{HiddenRefs, Namespace};
use storage::Target;

use super::feed::{Next, Subscription};
use super::{Cursor, Event, RefMove};

/// A caller's subscription.
pub struct WatchedRefs {
    subscription: Subscription,
    view: View,
    /// Whether he may still be told.
    still_may: Option<StillMay>,
    cursor: Cursor,
    /// An event that was told in part, and how much of it.
    rest: Option<(Arc<Event>, usize)>,
}

/// Asks the accounts whether somebody may still be told.
pub(crate) type StillMay = Box<dyn Fn() -> bool + Send + Sync>;

/// Refs that are told at once: whoever tells thousands of subscribers of many refs does not hold all of that
/// for each of them.
const TOLD_MAX: usize = 100;

/// What a caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// This is how the refs are, or how he knows them already; what he lists from now on has it all.
    At(Cursor),
    /// What became of refs he may see, and how all are after it; of very many, a part, and how all were
    /// before.
    Moved(Cursor, Vec<ShownMove>),
    /// More happened than is remembered. He has to list the refs, from now on.
    Relist(Cursor),
    /// That was all: the repository is gone, or the server ends.
    End,
}

/// What became of one ref, by the names the caller knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownMove {
    /// The full name.
    pub name: BString,
    /// What it was: an id, or `ref: NAME`. `None` when it was not there.
    pub old: Option<BString>,
    /// What it is.
    pub new: Option<BString>,
}

/// What of the refs is seen.
pub(crate) struct View {
    pub hidden: HiddenRefs,
    pub namespace: Namespace,
    /// How names begin; none stand for all.
    pub prefixes: Vec<BString>,
}

impl View {
    /// What callers see of a repository.
    pub fn of(repository: &Repository, namespace: Namespace, prefixes: Vec<BString>) -> Self {
        let hidden = HiddenRefs::from_config(repository.config(), "uploadpack");
        View { hidden, namespace, prefixes }
    }

    fn shown<'a>(&self, stored: &'a BStr) -> Option<&'a BStr> {
        let shown = self.namespace.shown(stored);
        if self.hidden.hides(shown, stored) {
            return None;
        }
        let is_asked_for = |name: &&BStr| {
            self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
        };
        shown.filter(is_asked_for)
    }

    fn target(&self, target: &Target) -> BString {
        match target {
            Target::Symbolic(name) => {
                let stored = name.as_bstr();
                let name = self.namespace.shown(stored).unwrap_or(stored);
                format!("ref: {name}").into()
            }
            Target::Id(id) => id.to_string().into(),
        }
    }

    fn moves(&self, moves: &[RefMove]) -> Vec<ShownMove> {
        let moves = moves.iter().filter_map(|one| {
            Some(ShownMove {
                name: self.shown(one.name.as_bstr())?.to_owned(),
                old: one.old.as_ref().map(|target| self.target(target)),
                new: one.new.as_ref().map(|target| self.target(target)),
            })
        });
        moves.collect()
    }
}

impl WatchedRefs {
    pub(crate) fn new(subscription: Subscription, view: View, still_may: Option<StillMay>) -> Self {
        WatchedRefs { subscription, view, still_may, cursor: Cursor::default(), rest: None }
    }

    /// How the refs were after all that was told, or passed over because he does not see it. Who
    /// comes back with it misses nothing.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Whether he may still be told, by what the accounts say now. Asked by whoever tells, from
    /// time to time; it is asked by itself before he is told of refs.
    pub fn still_may(&self) -> bool {
        self.still_may.as_ref().is_none_or(|still_may| still_may())
    }

    /// Whether there are accounts to be asked, which may take a while.
    pub fn asks_accounts(&self) -> bool {
        self.still_may.is_some()
    }

    /// What comes next; the waker is called when there is something.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Told> {
        loop {
            if let Some((event, at)) = self.rest.take() {
                let end = event.moves.len().min(at + TOLD_MAX);
                let moves = self.view.moves(&event.moves[at..end]);
                match end == event.moves.len() {
                    true => self.cursor = event.cursor,
                    false => self.rest = Some((event, end)),
                }
                if !moves.is_empty() {
                    return Poll::Ready(Told::Moved(self.cursor, moves));
                }
                continue;
            }
            let told = match std::task::ready!(self.subscription.poll_next(context)) {
                Next::At(cursor) => Told::At(cursor),
                Next::Relist(cursor) => Told::Relist(cursor),
                Next::End => Told::End,
                Next::Event(_) if !self.still_may() => Told::End,
                Next::Event(event) => {
                    self.rest = Some((event, 0));
                    continue;
                }
            };
            if let Told::At(cursor) | Told::Relist(cursor) = told {
                self.cursor = cursor;
            }
            return Poll::Ready(told);
        }
    }

    /// As [`WatchedRefs::poll_next`], for a thread that waits; `None` when nothing comes for so long.
    pub fn next_within(&mut self, most: Duration) -> Option<Told> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let end = Instant::now() + most;
        loop {
            if let Poll::Ready(told) = self.poll_next(&mut Context::from_waker(&waker)) {
                return Some(told);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            std::thread::park_timeout(left);
        }
    }
}

/// Wakes a thread.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use object::RefName;

    use super::super::feed::Feed;
    use super::*;

    fn event(names: &[&str]) -> Event {
        let target =
            Target::Symbolic(RefName::new("refs/namespaces/a/refs/heads/x").expect("valid"));
        let moves = names.iter().map(|name| RefMove {
            name: RefName::new(*name).expect("valid"),
            old: None,
            new: Some(target.clone()),
        });
        Event { before: Cursor(1), cursor: Cursor(2), moves: moves.collect() }
    }

    fn seen(view: &View, names: &[&str]) -> Vec<String> {
        let moves = view.moves(&event(names).moves).into_iter();
        moves.map(|one| format!("{} {}", one.name, one.new.unwrap_or_default())).collect()
    }

    #[test]
    fn very_many_are_told_in_parts() {
        let names: Vec<String> = (0..250).map(|number| format!("refs/heads/{number:03}")).collect();
        let feed = Arc::new(Feed::new(1000));
        feed.begin(Cursor(1));
        let all = View {
            hidden: HiddenRefs::new(["refs/heads/249"]),
            namespace: Namespace::default(),
            prefixes: Vec::new(),
        };
        let subscription = feed.subscribe(None, Box::new(()));
        let mut watched = WatchedRefs::new(subscription, all, None);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        feed.push(event(&names));
        let mut told = std::iter::from_fn(|| watched.next_within(Duration::ZERO));
        assert_eq!(told.next(), Some(Told::At(Cursor(1))));
        let parts: Vec<_> = told
            .map(|told| match told {
                Told::Moved(cursor, moves) => (cursor, moves.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        // Who is cut off in the middle is told all of it again.
        assert_eq!(parts, [(Cursor(1), 100), (Cursor(1), 100), (Cursor(2), 49)]);
        assert_eq!(watched.cursor(), Cursor(2));
    }

    #[test]
    fn each_sees_his_own() {
        let names = [
            "HEAD",
            "refs/heads/x",
            "refs/namespaces/a/refs/heads/y",
            "refs/pull/1",
            "refs/tags/v",
        ];
        let to = "ref: refs/namespaces/a/refs/heads/x";
        let all = View {
            hidden: HiddenRefs::new(["refs/pull"]),
            namespace: Namespace::default(),
            prefixes: Vec::new(),
        };
        let others = ["HEAD", names[1], names[2], names[4]];
        assert_eq!(seen(&all, &names), others.map(|name| format!("{name} {to}")));
        let some = View { prefixes: vec!["refs/tags/".into(), "HE".into()], ..all };
        assert_eq!(seen(&some, &names), ["HEAD", "refs/tags/v"].map(|name| format!("{name} {to}")));
        let inside = View {
            hidden: HiddenRefs::default(),
            namespace: Namespace::new(b"a").expect("a name"),
            prefixes: Vec::new(),
        };
        assert_eq!(seen(&inside, &names), ["refs/heads/y ref: refs/heads/x"]);
    }
}
