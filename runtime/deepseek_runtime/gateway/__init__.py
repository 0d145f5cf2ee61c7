"""The one OpenAI-compatible URL before all services: who asks, may they, write it down, pass it on."""
