//! Any bytes as a pack that arrives, and as one that is stored.

use object::HashKind;
use pack::{EntryHeader, PackFile, Scanner, entry, inflate};

const DATA_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn run(bytes: &[u8]) {
    let hash = HashKind::Sha1;
    if let Ok(header) = EntryHeader::parse(bytes, hash) {
        let mut again = Vec::new();
        entry::encode(&header.kind, header.size, &mut again);
        assert_eq!(EntryHeader::parse(&again, hash).expect("own encoding").kind, header.kind);
    }
    stored(bytes, hash);
    let _ = arriving(bytes, hash);
}

fn stored(bytes: &[u8], hash: HashKind) {
    let Ok(pack) = PackFile::open(bytes.to_vec().into(), hash) else { return };
    let mut data = Vec::new();
    for offset in 0..pack.len() + 2 {
        let Ok(header) = pack.entry_at(offset) else { continue };
        let _ = header.base_offset(offset);
        let compressed = pack.data_at(offset, &header).expect("behind its header");
        let _ = inflate::inflate_prefix(compressed, &mut [0; 32]);
        if header.size <= DATA_BYTES_MAX {
            let result = inflate::inflate_exact(compressed, header.size as usize, &mut data);
            assert!(result.is_err() || data.len() as u64 == header.size);
        }
    }
}

fn arriving(bytes: &[u8], hash: HashKind) -> Result<(), pack::Error> {
    let mut raw = Vec::new();
    let mut scanner = Scanner::open(bytes, &mut raw, hash)?;
    let mut data = Vec::new();
    while let Some(entry) = scanner.next_entry()? {
        if entry.header.size <= DATA_BYTES_MAX {
            scanner.read_data(&mut data)?;
            assert_eq!(data.len() as u64, entry.header.size);
        } else {
            scanner.skip_data()?;
        }
    }
    let end = scanner.finish_at_end()?;
    assert_eq!(end.len, bytes.len() as u64);
    assert_eq!(raw, bytes);
    Ok(())
}
