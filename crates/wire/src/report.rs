//! What became of a push: report-status and report-status-v2
//! (gitprotocol-pack, "Report Status").

use std::io;

use bstr::{BString, ByteSlice as _};
use bytes::Bytes;
use object::ObjectId;

use crate::pktline::{LARGE_PACKET_DATA_MAX, PacketWriter};

/// Which form of the report the client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportStatus {
    /// None: it will not learn what happened.
    None,
    /// `report-status`.
    V1,
    /// `report-status-v2`: with options that say what a hook made of a command.
    V2,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushReport {
    /// Whether the pack was taken, or why not.
    pub unpack: Result<(), String>,
    /// What became of each command, in the order of the request.
    pub refs: Vec<RefReport>,
}

/// What became of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefReport {
    /// The ref's name, as the command had it.
    pub name: BString,
    /// How it ended.
    pub outcome: RefOutcome,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefOutcome {
    /// It was done. The options say what was done instead where a `proc-receive` hook
    /// did something else: one entry for each ref it changed; usually none.
    Ok(Vec<ReportOptions>),
    /// It was refused, for this reason.
    Ng(String),
}

/// What a `proc-receive` hook made of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportOptions {
    /// The ref that changed, when it is another one.
    pub refname: Option<BString>,
    /// What it was.
    pub old_oid: Option<ObjectId>,
    /// What it is now.
    pub new_oid: Option<ObjectId>,
    /// Whether the change was no fast-forward.
    pub forced_update: bool,
}

impl PushReport {
    /// The report as packets, ending in a flush packet; `None` when the client reads none.
    ///
    /// It goes to the client as data: on band 1 of side-band, raw without.
    ///
    /// # Errors
    /// `InvalidInput` when a name does not fit a packet, which none that came in one does.
    pub fn encode(&self, form: ReportStatus) -> io::Result<Option<Bytes>> {
        if form == ReportStatus::None {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let mut writer = PacketWriter::new(&mut bytes);
        match &self.unpack {
            Ok(()) => writer.text("unpack ok")?,
            Err(reason) => write_reason(&mut writer, b"unpack ", reason)?,
        }
        for report in &self.refs {
            report.write(&mut writer, form)?;
        }
        writer.flush_pkt()?;
        writer.flush()?;
        drop(writer);
        Ok(Some(Bytes::from(bytes)))
    }
}

impl RefReport {
    fn write(&self, writer: &mut PacketWriter<'_>, form: ReportStatus) -> io::Result<()> {
        let ok = [b"ok ", self.name.as_slice()].concat();
        match &self.outcome {
            RefOutcome::Ng(reason) => {
                let start = [b"ng ", self.name.as_slice(), b" "].concat();
                write_reason(writer, &start, reason)
            }
            RefOutcome::Ok(options) if form == ReportStatus::V2 && !options.is_empty() => {
                options.iter().try_for_each(|options| {
                    writer.text(&ok)?;
                    options.write(writer)
                })
            }
            RefOutcome::Ok(_) => writer.text(&ok),
        }
    }
}

impl ReportOptions {
    fn write(&self, writer: &mut PacketWriter<'_>) -> io::Result<()> {
        if let Some(name) = &self.refname {
            writer.text([b"option refname ", name.as_slice()].concat())?;
        }
        if let Some(id) = self.old_oid {
            writer.text(format!("option old-oid {id}"))?;
        }
        if let Some(id) = self.new_oid {
            writer.text(format!("option new-oid {id}"))?;
        }
        if self.forced_update {
            writer.text("option forced-update")?;
        }
        Ok(())
    }
}

/// A reason may come from a hook: it is made one line, and cut where the packet ends.
fn write_reason(writer: &mut PacketWriter<'_>, start: &[u8], reason: &str) -> io::Result<()> {
    let room = LARGE_PACKET_DATA_MAX.saturating_sub(start.len() + b"\n".len());
    let reason = &reason.as_bytes()[..reason.len().min(room)];
    writer.text([start, &reason.replace("\n", " ")].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::HashKind;

    fn report() -> PushReport {
        let option = ReportOptions {
            refname: Some("refs/pull/1/head".into()),
            old_oid: Some(ObjectId::null(HashKind::Sha1)),
            new_oid: None,
            forced_update: true,
        };
        let refs = vec![
            RefReport { name: "refs/heads/a".into(), outcome: RefOutcome::Ok(vec![]) },
            RefReport {
                name: "refs/for/main".into(),
                outcome: RefOutcome::Ok(vec![option, ReportOptions::default()]),
            },
            RefReport { name: "refs/heads/b".into(), outcome: RefOutcome::Ng("hook\nsays".into()) },
        ];
        PushReport { unpack: Ok(()), refs }
    }

    fn lines(form: ReportStatus) -> Vec<String> {
        let bytes = report().encode(form).unwrap().expect("a report");
        let mut reader = crate::PacketReader::new(&bytes[..]);
        let mut lines = Vec::new();
        while let Some(line) = reader.next().unwrap().text() {
            lines.push(line.to_str_lossy().into_owned());
        }
        lines
    }

    #[test]
    fn the_first_form_has_no_options() {
        assert_eq!(
            lines(ReportStatus::V1),
            ["unpack ok", "ok refs/heads/a", "ok refs/for/main", "ng refs/heads/b hook says"]
        );
        assert_eq!(report().encode(ReportStatus::None).unwrap(), None);
    }

    #[test]
    fn the_second_form_repeats_ok_for_each_ref_changed() {
        let null = "0".repeat(40);
        assert_eq!(
            lines(ReportStatus::V2),
            [
                "unpack ok",
                "ok refs/heads/a",
                "ok refs/for/main",
                "option refname refs/pull/1/head",
                &format!("option old-oid {null}"),
                "option forced-update",
                "ok refs/for/main",
                "ng refs/heads/b hook says",
            ]
        );
    }

    #[test]
    fn an_endless_reason_is_cut() {
        let refs = vec![RefReport {
            name: "r".repeat(65000).into(),
            outcome: RefOutcome::Ng("x".repeat(70000)),
        }];
        let report = PushReport { unpack: Err("y".repeat(70000)), refs };
        let bytes = report.encode(ReportStatus::V1).unwrap().expect("a report");
        assert_eq!(bytes.len(), 2 * 65520 + 4);
    }
}
