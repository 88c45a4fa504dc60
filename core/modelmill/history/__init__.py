"""The builds that were: what they were made of, what differs from them, which of them nobody needs."""
