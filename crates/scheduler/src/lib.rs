//! The scheduler: queue, cache, plugins, binding.
