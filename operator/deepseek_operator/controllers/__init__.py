"""Pure decisions: from a resource and what is observed to children, removals, a status and events."""
