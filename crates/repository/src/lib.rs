//! One repository over the two storage seams: objects, history, incoming packs, reachability, pack plans.
