"""Webhooks: endpoints of callers that are told of their videos, and what was sent to them."""
