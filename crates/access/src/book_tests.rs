//! Accounts and rules, decided.

use super::*;
use crate::key::tests::line;
use crate::token::fresh_token;

const TEXT: &str = r#"
[users.ann]
email = "ann@example.org"
keys = ["KEY1"]
[users.bob]
keys = ["KEY2"]
[users.eve]
disabled = true
keys = ["KEY3"]
[users.root]

[groups]
ops = ["bob"]
devs = ["ann", "@ops"]

[[rules]]
repositories = ["**"]
who = ["anyone"]
allow = "read"
[[rules]]
repositories = ["private/"]
who = ["anyone"]
deny = "read"
[[rules]]
repositories = ["team/**", "private/team"]
who = ["@devs"]
allow = "write"
[[rules]]
repositories = ["home/{user}/**"]
who = ["users"]
allow = "create"
[[rules]]
repositories = ["**"]
who = ["root"]
allow = "admin"
[[rules]]
repositories = ["team/frozen"]
who = ["users"]
deny = "write"

[[protect]]
repositories = ["team/**"]
refs = ["refs/heads/main", "refs/tags/"]
create = ["@ops"]
force = []
delete = []
signed = true
[[protect]]
repositories = ["team/**"]
refs = ["refs/heads/**"]
file_bytes_max = 1000
paths_denied = ["*.pem"]
except = ["bob"]
also_admins = true
"#;

fn records() -> Records {
    let text =
        (1..=3).fold(TEXT.to_owned(), |text, key| text.replace(&format!("KEY{key}"), &line(key)));
    toml::from_str(&text).expect("records")
}

fn book() -> Book {
    Book::new(records()).expect("a book")
}

fn by_key(book: &Book, number: u8) -> Option<Identity> {
    let blob = SshKey::parse(&line(number)).expect("a key").blob;
    book.identify(&Proof::SshKey { blob: &blob }, 0)
}

#[test]
fn rules_are_gone_through_in_order() {
    let book = book();
    let ann = by_key(&book, 1).expect("ann");
    assert_eq!((ann.user.as_str(), ann.email.as_deref()), ("ann", Some("ann@example.org")));
    let bob = by_key(&book, 2).expect("bob");
    assert_eq!(by_key(&book, 3), None, "disabled");
    assert_eq!(by_key(&book, 4), None, "unknown");
    let root = book.identity("root", Credential::Other("console".into())).expect("root");
    for (who, repository, level) in [
        (None, "any", Level::Read),
        (None, "private/x", Level::None),
        (None, "private", Level::Read),
        (Some(&ann), "private/x", Level::None),
        (Some(&ann), "private/team", Level::Write),
        (Some(&ann), "team/app", Level::Write),
        (Some(&bob), "team/app", Level::Write),
        (Some(&ann), "team/frozen", Level::Read),
        (Some(&root), "team/frozen", Level::Read),
        (Some(&root), "private/x", Level::Admin),
        (Some(&ann), "home/ann/x", Level::Create),
        (Some(&ann), "home/bob/x", Level::Read),
        (None, "home/ann/x", Level::Read),
    ] {
        assert_eq!(book.decide(who, repository, 0).level, level, "{who:?} {repository}");
    }
}

#[test]
fn refs_are_protected() {
    let book = book();
    let (ann, bob) = (by_key(&book, 1).expect("ann"), by_key(&book, 2).expect("bob"));
    let of = |who: &Identity, name: &str| {
        let mut all = book.decide(Some(who), "team/app", 0).protections;
        all.retain(|one| one.covers(name.as_bytes()));
        all
    };
    let main = of(&ann, "refs/heads/main");
    assert_eq!(main.len(), 2);
    assert_eq!(
        main[0].refuses(Action::Create).expect("refused"),
        "protected: only @ops may create it"
    );
    assert_eq!(
        main[0].refuses(Action::Delete).expect("refused"),
        "protected: nobody may delete it"
    );
    assert_eq!(main[0].refuses(Action::Update), None);
    assert!(main[0].signed && !main[0].is_about_content() && main[1].is_about_content());
    assert_eq!(main[1].denies_path(b"a/x.pem"), Some("*.pem"));
    assert_eq!(of(&ann, "refs/tags/v1/x").len(), 1);
    let main = of(&bob, "refs/heads/main");
    assert_eq!(main.len(), 1);
    assert_eq!(main[0].refuses(Action::Create), None);
    let root = book.identity("root", Credential::Other("console".into())).expect("root");
    assert_eq!(of(&root, "refs/heads/main").len(), 1);
    assert!(book.decide(Some(&ann), "other", 0).protections.is_empty());
}

#[test]
fn tokens_are_bounded_and_end() {
    let mut records = records();
    let fresh = fresh_token().expect("random");
    let token = crate::TokenRecord {
        user: "ann".into(),
        hash: fresh.hash.clone(),
        note: String::new(),
        scope: Some(Level::Read),
        repositories: vec!["team/".into()],
        expires: Some(crate::Date(100)),
        created: None,
    };
    records.tokens.insert(fresh.id.clone(), token);
    let book = Book::new(records.clone()).expect("a book");
    let proof = Proof::Password { user: "whoever", secret: &fresh.secret };
    assert_eq!(format!("{proof:?}"), "Password(whoever)");
    let ann = book.identify(&proof, 99).expect("ann");
    assert_eq!(ann.user, "ann");
    assert_eq!(book.identify(&proof, 100), None, "it has ended");
    let wrong = fresh.secret.replace(&fresh.secret[fresh.secret.len() - 1..], "u");
    assert_eq!(book.identify(&Proof::Password { user: "ann", secret: &wrong }, 0), None);
    assert_eq!(book.decide(Some(&ann), "team/app", 99).level, Level::Read);
    assert_eq!(book.decide(Some(&ann), "any", 99).level, Level::Read, "as anybody");
    assert_eq!(book.decide(Some(&ann), "home/ann/x", 99).level, Level::Read, "as anybody");
    assert_eq!(book.decide(Some(&ann), "private/team", 99).level, Level::None);
    let text = book.explain(Some("ann"), Some(&fresh.id), "home/ann/x", None);
    assert!(
        text.contains("is for none there: none\n  anybody may do as much without it: read"),
        "{text}"
    );
    assert!(book.decide(Some(&ann), "team/app", 100).is_gone);
    records.tokens.clear();
    let without = Book::new(records).expect("a book");
    assert!(without.decide(Some(&ann), "team/app", 99).is_gone);
}

#[test]
fn who_loses_a_key_is_gone() {
    let mut records = records();
    let ann = by_key(&book(), 1).expect("ann");
    records.users.get_mut("ann").expect("ann").keys = vec![line(9)];
    let after = Book::new(records.clone()).expect("a book");
    assert!(after.decide(Some(&ann), "any", 0).is_gone);
    records.users.get_mut("ann").expect("ann").keys = vec![line(1)];
    records.users.get_mut("ann").expect("ann").disabled = true;
    assert!(Book::new(records).expect("a book").decide(Some(&ann), "any", 0).is_gone);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let refused = |change: &dyn Fn(&mut Records)| {
        let mut records = records();
        change(&mut records);
        Book::new(records).err().expect("refused").to_string()
    };
    let words = refused(&|records| records.rules[2].who = vec!["@dev".into()]);
    assert_eq!(words, "rules[2].who: there is no '@dev'");
    let words = refused(&|records| records.rules[0].allow = None);
    assert!(words.contains("rules[0]: a rule has either"), "{words}");
    let words = refused(&|records| records.rules[0].repositories.clear());
    assert!(words.contains("nothing is named"), "{words}");
    let words = refused(&|records| records.rules[0].repositories = vec!["team/app.git".into()]);
    assert!(words.contains("without '.git'"), "{words}");
    let words = refused(&|records| records.protect[0].refs = vec!["main".into()]);
    assert!(words.contains("refs/heads/main is the branch"), "{words}");
    let words = refused(&|records| drop(records.groups.insert("ops".into(), vec!["@devs".into()])));
    assert!(words.contains("contains itself"), "{words}");
    let words = refused(&|records| records.users.get_mut("bob").expect("bob").keys.push(line(1)));
    assert!(words.contains("key of 'ann', too"), "{words}");
    let words = refused(&|records| drop(records.users.insert("a b".into(), Default::default())));
    assert!(words.contains("a name begins"), "{words}");
    let words = refused(&|records| drop(records.users.insert("anyone".into(), Default::default())));
    assert!(words.contains("a name begins"), "{words}");
}

#[test]
fn decisions_are_explained() {
    let book = book();
    let text = book.explain(Some("ann"), None, "team/app", Some("refs/heads/main"));
    for line in [
        "ann may read and write team/app\n",
        "  rule 1 allows read in ** to anyone: read\n",
        "  rule 3 allows write in team/**, private/team to @devs: write\n",
        "create refs/heads/main: no (protect 1, protected: only @ops may create it)\n",
        "update refs/heads/main: yes\n",
        "force-push to refs/heads/main: no (protect 1, protected: nobody may force-push to it)\n",
        "  pushes to it are signed (protect 1)\n",
        "  no file has more than 1000 bytes (protect 2)\n",
        "  *.pem is not touched (protect 2)\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let text = book.explain(None, None, "private/x", Some("refs/heads/main"));
    assert!(
        text.contains("may do nothing in private/x") && text.contains("no push at all"),
        "{text}"
    );
    assert!(text.contains("rule 2 denies read in private/ to anyone: none"), "{text}");
    assert!(book.explain(Some("eve"), None, "x", None).contains("disabled"));
    assert!(book.explain(Some("zoe"), None, "x", None).contains("no user 'zoe'"));
}
