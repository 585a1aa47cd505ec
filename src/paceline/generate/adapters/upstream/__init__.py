"""Another server that speaks OpenAI's protocol, behind `Generator`."""
