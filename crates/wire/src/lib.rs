//! Git's wire protocol as bytes and messages: pkt-line, side-band, capabilities, commands.
