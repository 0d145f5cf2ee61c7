"""OpenAI's dialect: errors, requests, answers and event streams."""
