//! Encrypted connections, as a URL asks for them.

use storage::{Error, RepositoryStore as _};
use storage_postgres::{OpenOptions, PgStore};
use testkit::Postgres;

fn open(url: &str) -> Result<(), Error> {
    let store = PgStore::open(url, &OpenOptions::default())?;
    store.names("", 1).map(drop)
}

fn refusal(url: &str) -> String {
    open(url).expect_err(url).to_string()
}

#[test]
fn connections_are_encrypted_as_the_url_says() {
    let postgres = Postgres::start_with_tls();
    let (by_name, by_number) =
        (postgres.database_over_tls("localhost"), postgres.database_over_tls("127.0.0.1"));
    let authority = postgres.authority_file().display().to_string().replace('/', "%2F");
    let other = authority.replace("authority.pem", "other.pem");
    // The server refuses what is not encrypted.
    open(&by_name).expect("encrypted where the database can");
    let words = refusal(&format!("{by_name}?sslmode=disable"));
    assert!(words.contains("no encryption"), "{words}");
    for good in [
        format!("{by_name}?sslmode=prefer"),
        format!("{by_name}?sslmode=require"),
        format!("{by_number}?sslmode=require"),
        format!("{by_name}?sslmode=verify-full&sslrootcert={authority}"),
        format!("{by_number}?sslmode=verify-ca&sslrootcert={authority}"),
        format!("{by_number}?sslrootcert={authority}"),
    ] {
        open(&good).expect(&good);
    }
    for bad in [
        format!("{by_number}?sslmode=verify-full&sslrootcert={authority}"),
        format!("{by_name}?sslmode=verify-full&sslrootcert={other}"),
        format!("{by_name}?sslmode=verify-ca&sslrootcert={other}"),
        format!("{by_name}?sslmode=verify-full&sslrootcert=system"),
    ] {
        let words = refusal(&bad);
        assert!(words.contains("certificate"), "{bad}: {words}");
    }
    let words = refusal(&format!("{by_name}?sslmode=verify-full&sslrootcert=%2Fno%2Fsuch.pem"));
    assert!(words.contains("/no/such.pem"), "{words}");
    let empty = postgres.authority_file().with_extension("empty");
    std::fs::write(&empty, "nothing\n").expect("a file");
    let words = refusal(&format!("{by_name}?sslrootcert={}", empty.display()));
    assert!(words.contains("no certificate in it"), "{words}");
}

#[test]
fn a_database_that_cannot_encrypt_is_told_from_one_that_can() {
    let postgres = Postgres::shared();
    let url = postgres.database();
    open(&url).expect("without encryption");
    open(&format!("{url}?sslmode=disable")).expect("without encryption");
    let words = refusal(&format!("{url}?sslmode=require"));
    assert!(words.to_lowercase().contains("tls"), "{words}");
    let words = refusal(&format!("{url}?sslmode=allow"));
    assert!(words.contains("sslmode=allow"), "{words}");
}
