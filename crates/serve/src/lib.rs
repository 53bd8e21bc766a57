//! What a Git server answers: advertisement, ls-refs, fetch, push, object-info.
