"""The audit log: durable before anything is forwarded, chained by hashes, verified by `audit verify`."""
