"""The tests, as a package: of several that are called so, it is this one that is imported."""
