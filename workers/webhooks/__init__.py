"""Webhooks: what is owed to callers' own servers, and the sending of it. Apart from jobs: none of it can touch one."""
