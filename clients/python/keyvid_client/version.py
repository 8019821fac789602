"""The version of this package, as its metadata and the User-Agent have it."""

VERSION = "0.1.0"
