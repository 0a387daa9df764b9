"""The rows; every module here is imported, and what it decorates with `@fault` is a row."""
