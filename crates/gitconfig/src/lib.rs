//! Git configuration files: parsing, includes, precedence and typed access.
