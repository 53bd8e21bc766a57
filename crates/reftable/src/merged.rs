//! Several tables as one: of each key the newest table decides.

use bstr::{BStr, ByteSlice as _};
use object::HashKind;

use crate::record::split_log_key;
use crate::{LogCursor, LogRecord, RefCursor, RefRecord, RefView, Result, Table, ValueView};

/// The refs of a stack of tables, the oldest first.
pub struct MergedRefs {
    cursors: Vec<RefCursor>,
    /// The cursor whose ref is the present one.
    present: Option<usize>,
    /// Refs that are gone are passed too.
    with_deleted: bool,
    last: Vec<u8>,
}

impl MergedRefs {
    /// In front of the first ref whose name is not below `from`. `with_deleted`: refs that are
    /// gone are passed too.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub fn new(tables: &[Table], from: &BStr, with_deleted: bool) -> Result<Self> {
        let mut cursors = Vec::with_capacity(tables.len());
        for table in tables {
            let mut cursor = table.refs(from)?;
            if cursor.advance()? {
                cursors.push(cursor);
            }
        }
        Ok(MergedRefs { cursors, present: None, with_deleted, last: Vec::new() })
    }

    /// Goes on to the next ref; whether there is one.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub fn advance(&mut self) -> Result<bool> {
        loop {
            if self.present.take().is_some() {
                // All that older tables say of the same ref goes with it.
                let last = self.last.as_bstr();
                for cursor in &mut self.cursors {
                    if cursor.present().is_some_and(|view| view.name == last) {
                        cursor.advance()?;
                    }
                }
                self.cursors.retain(|cursor| cursor.present().is_some());
            }
            let mut first: Option<(usize, RefView<'_>)> = None;
            for (number, cursor) in self.cursors.iter().enumerate() {
                let Some(view) = cursor.present() else { continue };
                // A newer table comes later, so it wins where both have the ref.
                if first.is_none_or(|(_, first)| view.name <= first.name) {
                    first = Some((number, view));
                }
            }
            let Some((number, view)) = first else { return Ok(false) };
            self.last.clear();
            self.last.extend_from_slice(view.name);
            let is_deleted = matches!(view.value, ValueView::Deleted);
            self.present = Some(number);
            if self.with_deleted || !is_deleted {
                return Ok(true);
            }
        }
    }

    /// The ref it is at.
    pub fn present(&self) -> Option<RefView<'_>> {
        self.cursors[self.present?].present()
    }
}

/// One ref, by its name; `None` when there is none or when it is gone.
///
/// # Errors
/// [`Error::Corrupt`](crate::Error::Corrupt).
pub fn find(tables: &[Table], name: &BStr, hash: HashKind) -> Result<Option<RefRecord>> {
    for table in tables.iter().rev() {
        let mut cursor = table.refs(name)?;
        cursor.advance()?;
        if let Some(view) = cursor.present().filter(|view| view.name == name) {
            let is_there = !matches!(view.value, ValueView::Deleted);
            return Ok(is_there.then(|| view.to_record(hash)));
        }
    }
    Ok(None)
}

/// The log lines of a stack of tables, the oldest first: by name, of one ref the latest first.
pub struct MergedLogs {
    cursors: Vec<LogCursor>,
    present: Option<usize>,
    with_deleted: bool,
    last: Vec<u8>,
}

impl MergedLogs {
    /// In front of the first line of the first ref whose name is not below `from`.
    /// `with_deleted`: lines that take others away are passed too.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub fn new(tables: &[Table], from: &BStr, with_deleted: bool) -> Result<Self> {
        let mut cursors = Vec::with_capacity(tables.len());
        for table in tables {
            let mut cursor = table.logs(from)?;
            if cursor.advance()? {
                cursors.push(cursor);
            }
        }
        Ok(MergedLogs { cursors, present: None, with_deleted, last: Vec::new() })
    }

    /// The next line.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt).
    pub fn next_line(&mut self) -> Result<Option<LogRecord>> {
        loop {
            if self.present.take().is_some() {
                for cursor in &mut self.cursors {
                    if cursor.key() == Some(&self.last) {
                        cursor.advance()?;
                    }
                }
                self.cursors.retain(|cursor| cursor.key().is_some());
            }
            let mut first: Option<(usize, &[u8])> = None;
            for (number, cursor) in self.cursors.iter().enumerate() {
                let Some(key) = cursor.key() else { continue };
                if first.is_none_or(|(_, first)| key <= first) {
                    first = Some((number, key));
                }
            }
            let Some((number, key)) = first else { return Ok(None) };
            split_log_key(key)?;
            self.last.clear();
            self.last.extend_from_slice(key);
            self.present = Some(number);
            let Some(view) = self.cursors[number].present() else { return Ok(None) };
            if self.with_deleted || view.entry.is_some() {
                return Ok(Some(view.to_record()));
            }
        }
    }
}
