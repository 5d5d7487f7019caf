//! Values: what a key can hold. Everything here is `Send`, owns its memory, and replies nothing.
