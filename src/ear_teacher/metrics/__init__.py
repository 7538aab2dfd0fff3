"""How good reconstructions are, how healthy a posterior is, and how sure we may be of either."""
