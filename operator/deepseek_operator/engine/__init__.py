"""The imperative shell: watches, store, work queue, planner, writer, pullers, events, lease."""
