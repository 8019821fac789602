"""The `keyvid` command."""
