"""The report on complementary retrieval."""
