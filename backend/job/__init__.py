"""One job of a client: from its arrays and views to its result files."""
