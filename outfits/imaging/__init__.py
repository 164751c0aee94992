"""Images made of items: enlarged, continued, in another style."""
