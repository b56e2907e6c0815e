// Empty: a target that compiles a header needs a source.
