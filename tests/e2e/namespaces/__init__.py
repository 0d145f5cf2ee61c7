"""Long journeys that share nothing with the others but the cluster, and so can run beside them."""
