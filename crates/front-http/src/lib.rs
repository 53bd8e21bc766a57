//! HTTP transport facts turned into requests: smart and dumb Git over HTTP/1.1 and HTTP/2.
